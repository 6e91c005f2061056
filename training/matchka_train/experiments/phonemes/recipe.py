"""The arms of the benchmark: encoders, layers and ways to join them."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter

from matchka_train.backbones.frames.recipes import AnyFrameEncoderRecipe
from matchka_train.heads.phones.recipe import HeadRecipe
from matchka_train.strict_model import StrictModel


class ArmRecipe(StrictModel):
    """One row of the benchmark.

    Attributes:
        name: letters, digits and dashes.
        encoders: of one frame period.
        head: from their frames to phones.
        epochs: of training; None as the base recipe says.
        seeds: that it is trained with; None takes those of all arms, and an arm without any is there to be marked.
        shuffled: whether each clip gets the transcript of another one: what is learned then is no reading.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    encoders: tuple[AnyFrameEncoderRecipe, ...] = Field(min_length=1)
    head: HeadRecipe
    epochs: int | None = Field(default=None, ge=1)
    seeds: tuple[int, ...] | None = None
    shuffled: bool = False


def _arms() -> tuple[ArmRecipe, ...]:
    """The encoders that need no network: a convolution over five frames, twice, unless the name says otherwise.

    The head of the phoneme recipe, which takes as long as all others together, is held against marks only: its phone
    error rates are those of `matchka-train run`.
    """
    log_mel, ge2e, states = {"kind": "log_mel"}, {"kind": "ge2e"}, {"kind": "pocketsphinx"}
    both = [ge2e, log_mel]
    plain: dict[str, object] = {"context": {"kind": "convolution", "dropout": 0.1}}
    gated = plain | {"fusion": {"kind": "gated", "width": 160}}  # of one encoder: projected and normalised
    recurrent = {"context": {"kind": "bilstm", "skip": True}, "fusion": {"kind": "gated"}}
    rows: list[tuple[str, list[dict[str, str]], dict[str, object], dict[str, object]]] = [
        ("pocketsphinx", [states], plain, {}),
        ("log-mel", [log_mel], plain, {}),
        *((f"ge2e-layer-{1 + layer}", [ge2e], gated | {"layers": layer}, {}) for layer in range(3)),
        ("ge2e-normalised", [ge2e], gated, {}),
        ("ge2e-weighted", [ge2e], plain, {}),
        ("ge2e-linear", [ge2e], gated | {"context": {"kind": "linear"}}, {}),
        ("early", both, plain, {}),
        ("gated", both, gated, {}),
        ("gated-shuffled", both, gated, {"seeds": [0], "shuffled": True}),
        ("gated-bilstm", both, recurrent, {"seeds": []}),
    ]
    return TypeAdapter(tuple[ArmRecipe, ...]).validate_python(
        [{"name": name, "encoders": encoders, "head": head, **others} for name, encoders, head, others in rows]
    )


class BenchmarkRecipe(StrictModel):
    """What is compared; data and optimisation are those of the base recipe.

    Attributes:
        seeds: every arm is trained with each.
        arms: what is trained.
        late: pairs of arms that are joined behind their posteriors.
        late_weights: of the first of the two.
        marks: a file of people's marks of training clips (utterance, accuracy, censored); None leaves them out.
        mark_folds: parts of the training speakers; each is marked by a head that was trained on the others. None marks
            only the speakers that chose the epoch, by the arm's own head: a scale for that very head.
        marked_arms: those that are held against marks, with the first seed.
    """

    seeds: tuple[int, ...] = Field(default=(0, 1, 2), min_length=1)
    arms: tuple[ArmRecipe, ...] = Field(default_factory=_arms, min_length=1)
    late: tuple[tuple[str, str], ...] = (
        ("ge2e-normalised", "log-mel"),
        ("gated", "log-mel"),
        ("gated", "pocketsphinx"),
    )
    late_weights: tuple[float, ...] = (0.1, 0.3, 0.5, 0.7, 0.9)
    marks: Path | None = Path("../shared/data/speech/scores.csv")
    mark_folds: Annotated[int, Field(ge=2)] | None = 5
    marked_arms: tuple[str, ...] = ("log-mel", "ge2e-normalised", "early", "gated", "gated-bilstm")
