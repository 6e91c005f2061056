"""What the benchmark finds: one value for each arm and seed, for each arm with marks, and for each late fusion."""

from dataclasses import dataclass, field

from matchka_train.evaluation.pronunciation import Agreement, MarkLine
from matchka_train.heads.phones.recipe import HeadRecipe


@dataclass(frozen=True)
class ArmRun:
    """One arm with one seed, on people who decided nothing.

    Attributes:
        arm: its name.
        seed: of start, order and dropout.
        per: phone error rate; a fraction.
        child_per: of readers below 18; None where there are none.
        adult_per: of the others.
        blank_share: of all frames.
        parameters: that were trained.
        layer_weights: of each encoder.
        confusions: the most frequent (read, decoded, count); an empty name is an insertion or a deletion.
    """

    arm: str
    seed: int
    per: float
    child_per: float | None
    adult_per: float | None
    blank_share: float
    parameters: int
    layer_weights: list[list[float]]
    confusions: list[tuple[str, str, int]]


@dataclass(frozen=True)
class MarkedRun:
    """Scores of one arm beside people's marks, each speaker marked by a head that was not trained on them.

    Attributes:
        arm: its name.
        head: what was trained, on `encoders`.
        encoders: hashes of their weights.
        per: phone error rate on clips with a mark of 8 and above.
        pearson: of the log-likelihood ratio and the mark.
        auc: of finding marks below 8.
        error_pearson: of 1 - PER of each clip and the mark, as the reference has it.
        error_auc: the same.
        clips: with a mark.
        speakers: who said them.
        line: from the ratio to marks.
        pearson_interval: of `pearson`, 95 % of draws of speakers; nothing where it was not drawn.
        auc_interval: the same of `auc`.
        scores: the ratio of each clip.
        marks: of each clip.
        ages: the same agreement of the ratio within groups of age, where a group has clips on both sides of the mark.
        parts: the same within the parts of the speakers, each of which another head or another line judged.
    """

    arm: str
    head: HeadRecipe
    encoders: tuple[str, ...]
    per: float
    pearson: float
    auc: float
    error_pearson: float
    error_auc: float
    clips: int
    speakers: int
    line: MarkLine
    pearson_interval: tuple[float, float] | None = None
    auc_interval: tuple[float, float] | None = None
    scores: list[float] = field(default_factory=list)
    marks: list[float] = field(default_factory=list)
    ages: dict[str, Agreement] = field(default_factory=dict)
    parts: dict[str, Agreement] = field(default_factory=dict)


@dataclass(frozen=True)
class LateRun:
    """Two arms joined behind their posteriors, both of one seed.

    Attributes:
        arms: the two.
        seed: of both.
        weight: of the first.
        frame_per: where log-posteriors are averaged frame by frame.
        sequence_per: where whole sequences are chosen.
    """

    arms: tuple[str, str]
    seed: int
    weight: float
    frame_per: float
    sequence_per: float


@dataclass(frozen=True)
class Benchmark:
    """What was found.

    Attributes:
        runs: of each arm and seed.
        marked: beside people's marks.
        late: of joined arms.
        absent: arms that were left out, with the reason: a package is not installed.
    """

    runs: tuple[ArmRun, ...]
    marked: tuple[MarkedRun, ...]
    late: tuple[LateRun, ...]
    absent: dict[str, str] = field(default_factory=dict)
