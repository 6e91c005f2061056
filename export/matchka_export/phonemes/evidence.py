"""Evidence of a phone head: the files it belongs to, what was measured, and how to reproduce it."""

from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field, ValidationError

from matchka.bundles.manifest import DatasetUse
from matchka.bundles.outputs.phoneme_posteriors import (
    AccuracyScale,
    HeardBounds,
    PhonemeMetrics,
    PhrasePoint,
    WordCount,
)
from matchka.runtime.atomic_file import write_atomically
from matchka_export.errors import EvidenceError
from matchka_export.gate.evidence import HEX_SHA256
from matchka_export.gate.non_inferiority import Verdict
from matchka_train.strict_model import StrictModel

Sha256 = Annotated[str, Field(pattern=HEX_SHA256)]
Rate = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class HeadComparison(StrictModel):
    """One error rate of the head beside that of the floor, a head on log-mel frames, on the same clips.

    Attributes:
        rate: of the head; a fraction.
        floor_rate: of the floor.
        upper: upper bound of rate - floor_rate, at `confidence`, one-sided; below 0 the head is better.
        speakers: drawn anew to find the bound.
        clips: compared.
        confidence: of the bound.
        resamples: draws it was found with.
        verdict: `undecidable` where there are too few people or clips to decide.
    """

    rate: Rate
    floor_rate: Rate
    upper: float
    speakers: int = Field(ge=1)
    clips: int = Field(ge=1)
    confidence: float = Field(gt=0.5, lt=1)
    resamples: int = Field(ge=1)
    verdict: Verdict


class OtherMicrophones(StrictModel):
    """Clips of other people and rooms: is the right text the best of many?

    Attributes:
        clips: how many were tried.
        best: of how many the right text scored higher than every wrong one.
        wrong_texts: held against each.
    """

    clips: int = Field(ge=1)
    best: int = Field(ge=0)
    wrong_texts: int = Field(ge=1)


class UnseenRates(StrictModel):
    """What thresholds set with one half of the people do to the other half; means over ways to halve them.

    Attributes:
        far: the rate that was asked.
        accepted: share of wrong texts accepted.
        rejected: share of right texts rejected, at the upper bound, as thresholds of the bundle are set.
        plainly_rejected: the same at thresholds that keep the rate for the people who set them.
        clips: right texts of all halves, each clip once.
    """

    far: float = Field(gt=0, lt=1)
    accepted: Rate
    rejected: Rate
    plainly_rejected: Rate
    clips: int = Field(ge=1)


class PhonemeEvidence(StrictModel):
    """What was measured of one head on frozen encoders.

    Attributes:
        format: of this file.
        head_sha256: of the head's file.
        encoder_sha256: of the weights of each encoder, in the order in which the head takes them.
        parity: largest absolute difference of the graph's log-posteriors from torch's.
        blank_share: share of frames whose likeliest class is the blank; near 1, a head says nothing.
        gate: by what was compared: per, phrase_eer.
        metrics: by domain.
        baseline_metrics: of the floor.
        phrase_points: by the number of words.
        least_free_log_posterior: of all clips measured, see matchka.phrases.scores.free_log_posterior; None where an
            older version measured.
        heard: bounds of how clearly and how much is heard of a text; None where an older version measured.
        least_kurtosis: of a clip's samples, see matchka.phrases.distortion; it stands here so that a bundle with
            another one is not current.
        accuracy: from phrase scores to people's marks, fitted with heads of the same kind; None where it was not asked.
        unseen: by the number of words, and `all`: rates of people who set no threshold.
        other_microphones: of clips that no data set holds.
        datasets: what fitted and what judged the head.
        commands: what to run to find the same again.
        libraries: versions it was measured with.
    """

    format: Literal["matchka-phoneme-evidence-1"] = "matchka-phoneme-evidence-1"
    head_sha256: Sha256
    encoder_sha256: tuple[Sha256, ...] = Field(min_length=1)
    parity: float = Field(ge=0)
    blank_share: float = Field(ge=0, le=1)
    gate: dict[str, HeadComparison]
    metrics: dict[str, PhonemeMetrics]
    baseline_metrics: dict[str, PhonemeMetrics]
    phrase_points: dict[WordCount, tuple[PhrasePoint, ...]]
    least_free_log_posterior: float | None = Field(default=None, le=0)
    heard: HeardBounds | None = None
    least_kurtosis: float | None = Field(default=None, ge=1)
    accuracy: AccuracyScale | None = None
    unseen: dict[str, tuple[UnseenRates, ...]]
    other_microphones: OtherMicrophones
    datasets: tuple[DatasetUse, ...]
    commands: tuple[str, ...]
    libraries: dict[str, str]


def read_phoneme_evidence(path: Path) -> PhonemeEvidence:
    """Read measurements.

    Raises: EvidenceError: no such file, or not one of measurements.
    """
    try:
        return PhonemeEvidence.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        raise EvidenceError(f"The measurements {path} cannot be read.", value=error, remedy=MEASURE) from error


def write_phoneme_evidence(path: Path, evidence: PhonemeEvidence) -> None:
    """Write measurements; the file is whole or not there."""
    write_atomically(path, (evidence.model_dump_json(indent=1) + "\n").encode())


def require_of_head(evidence: PhonemeEvidence, head_sha256: str, encoder_sha256: tuple[str, ...]) -> None:
    """Refuse measurements of another head, or on other encoders.

    Raises: EvidenceError: one of them is another.
    """
    for part, measured, found in (
        ("head", (evidence.head_sha256,), (head_sha256,)),
        ("encoders", evidence.encoder_sha256, encoder_sha256),
    ):
        if measured != found:
            raise EvidenceError(
                f"The measurements are of the {part} with sha256 {', '.join(measured)}, not of this one.",
                value=", ".join(found),
                remedy=MEASURE,
            )


MEASURE: Final = "Measure again with `matchka-export measure-head HEAD FLOOR`."
