"""People's scale of pronunciation: a line that the benchmark fitted for heads of the same kind."""

from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from matchka.bundles.outputs.phoneme_posteriors import AccuracyScale
from matchka_export.errors import EvidenceError
from matchka_train.experiments.phonemes.results import Benchmark
from matchka_train.heads.phones.recipe import HeadRecipe


def read_scale(benchmark: Path, head: HeadRecipe, encoders: tuple[str, ...]) -> AccuracyScale:
    """The line from phrase scores to marks of heads that are built like one and read from the same encoders.

    Args:
        benchmark: what `matchka-train experiment phonemes` wrote.
        head: the head's parts.
        encoders: sha256 of the weights of each encoder, in the order in which the head takes them.

    Raises: EvidenceError: no such file, or no such head in it was held against marks.
    """
    try:
        found = TypeAdapter(Benchmark).validate_json(benchmark.read_bytes())
    except (OSError, ValidationError) as error:
        raise EvidenceError(
            f"The benchmark {benchmark} cannot be read.", value=error, remedy="Run `matchka-train experiment phonemes`."
        ) from error
    for run in found.marked:
        if (run.head, run.encoders) == (head, encoders):
            return AccuracyScale(
                slope=run.line.slope,
                offset=run.line.offset,
                low=run.line.low,
                high=run.line.high,
                pearson=run.pearson,
                error=run.line.error,
                constant_error=run.line.constant_error,
                speakers=run.speakers,
            )
    raise EvidenceError(
        f"No head like this one was held against people's marks in {benchmark}.",
        value=", ".join(run.arm for run in found.marked) or "none",
        remedy="Name an arm like it in marked_arms.",
    )
