"""What was measured of a model of settings: per dim as a manifest holds it, and the rest for people."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final, Literal

from pydantic import Field, ValidationError

from matchka.bundles.manifest import DatasetUse
from matchka.bundles.outputs.measurements import (
    Calibration,
    DimOrder,
    DimReport,
    GateComparison,
    Metrics,
    OperatingPoint,
    Promise,
)
from matchka.runtime.atomic_file import write_atomically
from matchka_export.errors import EvidenceError
from matchka_export.gate.evidence import HEX_SHA256
from matchka_export.gate.non_inferiority import Row, Rule, judge_row, order_bound
from matchka_train.evaluation.validation import measure
from matchka_train.heads.words.judging.figures import WordMeasures, word_eers
from matchka_train.heads.words.judging.folds import Judged
from matchka_train.heads.words.recipe import WordsRecipe
from matchka_train.metrics.bootstrap import DrawnRate
from matchka_train.metrics.calibration import LARGEST_COSINE, ThresholdAt, calibrate, thresholds_at
from matchka_train.metrics.identity_bootstrap import CONFIDENCE, RESAMPLES
from matchka_train.metrics.pairs import PairSimilarities
from matchka_train.strict_model import StrictModel

DOMAIN: Final = "words-of-settings"
UNIT: Final = "contributor"
# 32 people gave the two words: fewer than a model of voices is judged on, and all there are (docs/decisions/121)
RULE: Final = Rule(least_units=20)
HIGHEST_THRESHOLD: Final = 1.0 - 1e-6
_MEASURE: Final = "Measure again with `matchka-export words CHECKPOINT`."


class WordsEvidence(StrictModel):
    """What was measured of one model of settings.

    Attributes:
        format: of this file.
        backbone_sha256: of what computes the response curve.
        projection_sha256: of the file of learned numbers.
        dims: rising; the last is the number of fields.
        per_dim: as matchka.bundles.outputs.EmbeddingOutput.
        words: on people whom the model that judged them had not seen; None where the model knows no words.
        datasets: what fitted and what judged it.
        commands: what to run to find the same again.
    """

    format: Literal["matchka-words-evidence-1"] = "matchka-words-evidence-1"
    backbone_sha256: str = Field(pattern=HEX_SHA256)
    projection_sha256: str = Field(pattern=HEX_SHA256)
    dims: tuple[int, ...]
    per_dim: dict[str, DimReport]
    words: WordMeasures | None
    datasets: tuple[DatasetUse, ...]
    commands: tuple[str, ...]


def read_words_evidence(path: Path) -> WordsEvidence:
    """Read measurements.

    Raises: EvidenceError: no such file, or not one of measurements.
    """
    try:
        return WordsEvidence.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        raise EvidenceError(f"The measurements {path} cannot be read.", value=error, remedy=_MEASURE) from error


def write_words_evidence(path: Path, evidence: WordsEvidence) -> None:
    """Write measurements; the file is whole or not there."""
    write_atomically(path, (evidence.model_dump_json(indent=1) + "\n").encode())


def word_reports(recipe: WordsRecipe, found: Judged) -> dict[str, DimReport]:
    """What a manifest says of each dim: pairs of one word are mated, of two words non-mated, all across contributors.

    The reference of each dim is the principal components of the scaled numbers, cut to the same. Contributors are drawn
    anew for every bound.
    """
    reports: dict[str, DimReport] = {}
    shorter: tuple[int, DrawnRate] | None = None
    people = found.pairs.people_count
    for dim in recipe.dims:
        ours, floor = word_eers([found.embeddings, found.floor], found.pairs, dim, recipe.seed)
        trials, of_floor = (
            found.pairs.as_trials(found.pairs.similarities(system, dim)) for system in (found.embeddings, found.floor)
        )
        reference = f"principal components of the scaled numbers, cut to {dim}"
        judged = judge_row(Row(UNIT, people, int(trials.mated.size), ours, reference, floor), RULE)
        gate = GateComparison(
            reference=reference,
            unit=UNIT,
            eer=ours.rate,
            reference_eer=floor.rate,
            upper=judged.upper,
            margin=judged.margin,
            subjects=people,
            mated_pairs=int(trials.mated.size),
            confidence=RULE.confidence,
            resamples=ours.draws.size,
            verdict=judged.verdict,
        )
        order = {}
        if shorter is not None:
            difference = ours.rate - shorter[1].rate
            lower = order_bound(ours, shorter[1])
            order = {DOMAIN: DimOrder(against_dim=shorter[0], difference=difference, lower=lower)}
        shorter = (dim, ours)
        report = dim_report(DOMAIN, trials, of_floor, recipe.seed)
        reports[str(dim)] = report.model_copy(update={"gate": {DOMAIN: gate}, "order": order})
    return reports


def dim_report(domain: str, trials: PairSimilarities, reference: PairSimilarities, seed: int) -> DimReport:
    """Accuracy, calibration and thresholds of a reference of one template."""
    promise = Promise(
        confidence=CONFIDENCE,
        method=f"bootstrap by {UNIT}",
        resamples=RESAMPLES,
        seed=seed,
        people={domain: trials.subject_count},
        selected_on="nothing",
    )
    return DimReport(
        metrics={domain: Metrics(**asdict(measure(trials)))},
        backbone_metrics={domain: Metrics(**asdict(measure(reference)))},
        calibration={"1": Calibration(**asdict(calibrate(trials, seed)))},
        operating_points={"1": _points(thresholds_at(trials, seed))},
        promise=promise,
    )


def _points(found: Sequence[ThresholdAt]) -> tuple[OperatingPoint, ...]:
    """In falling order of rate; none reaches 1, near which cosines of few components crowd."""
    limited: list[Mapping[str, object]] = [
        asdict(point)
        | {
            "threshold": min(point.threshold, HIGHEST_THRESHOLD),
            "estimate": min(point.estimate, LARGEST_COSINE),
        }
        for point in found
    ]
    return tuple(OperatingPoint.model_validate(point) for point in limited)
