"""Verification, identification, and the challenges that belong to them."""

from datetime import datetime
from typing import Literal

from matchka.client.answers.answer import Answer
from matchka.client.answers.enrolment import FaceAnswer, SubjectSimilarityAnswer


class PhraseAnswer(Answer):
    """Whether a clip says a text: `llr` is the log-likelihood ratio for each phone, held against `threshold`.

    `threshold` lets through the share `max_far` of clips that say something else; `threshold_measured` is false where
    too few were counted, or no text of so many words.
    """

    match: bool
    llr: float | None
    threshold: float | None
    threshold_measured: bool
    max_far: float


class HeadTurnAnswer(Answer):
    """Whether a head turned as asked, in pictures of one person. Experimental.

    `turns` are of the pictures in their order, positive towards the person's left; each side needs `least_turn`.
    """

    match: bool
    same_person: bool
    turns: list[float] | None
    least_turn: float


class VerifyAnswer(Answer):
    """A 1:1 decision. `threshold_measured` is false where the threshold lies beyond what was counted in validation.

    `similarity` is what is held against `threshold`: that of the bundle's scorer; `cosine` is for comparison. With a
    challenge there is a `phrase` or a `head_turn`, and `match` needs both. `conditions`: of each sample sent, what the
    threshold depends on, as `snr_db`; None where one serves all.
    """

    match: bool
    similarity: float | None
    threshold: float | None
    threshold_measured: bool
    max_fmr: float
    probability: float | None
    cosine: float | None = None  # no older service of version 1 tells it
    dim: int
    model: str
    version: str
    faces: list[FaceAnswer | None] | None = None
    conditions: list[dict[str, float] | None] | None = None  # no older service of version 1 tells them
    phrase: PhraseAnswer | None = None
    head_turn: HeadTurnAnswer | None = None


class FusedVerifyAnswer(Answer):
    """A 1:1 decision on two modalities; similarity and threshold are 2 p - 1 of the posterior, on [-1, 1].

    `match` with `require: both` (the default): similarity >= threshold, and every part matches at `max_fmr_each`. With
    `sum`: similarity >= threshold; `max_fmr_each` is null, and parts are what each model alone would decide at
    `max_fmr`. `dim` names no single embedding and is 0. With a challenge `match` needs it as well.
    """

    match: bool
    similarity: float | None
    threshold: float | None
    threshold_measured: bool
    max_fmr: float
    require: Literal["both", "sum"]
    max_fmr_each: float | None
    probability: float | None
    dim: int
    model: str
    version: str
    parts: dict[str, VerifyAnswer] | None
    phrase: PhraseAnswer | None = None
    head_turn: HeadTurnAnswer | None = None


class ChallengeAnswer(Answer):
    """What a subject has to say, for one use until it expires: words, in this order."""

    challenge_id: str
    kind: str
    phrase: str
    expires_at: datetime


class DirectionsAnswer(Answer):
    """What a head has to do, for one use until it expires: where to look, in this order; left is the person's own."""

    challenge_id: str
    kind: str
    directions: list[str]
    expires_at: datetime


class CandidateAnswer(SubjectSimilarityAnswer):
    """A subject that identify found. Versions of a model have scales of their own: similarities compare within one.

    `threshold` is that of the version, at `dim`; candidates are ordered by how far their similarity lies above it.
    """

    version: str
    dim: int
    threshold: float | None


class IdentifiedFaceAnswer(Answer):
    """One face of several that were looked up."""

    face: FaceAnswer | None
    condition: dict[str, float] | None = None  # as of an IdentifyAnswer
    match: str | None
    candidates: list[CandidateAnswer]
    threshold: float | None
    threshold_measured: bool


class IdentifyAnswer(Answer):
    """A 1:N decision: `match` is None where no candidate reaches the threshold.

    `version`, `dim` and `threshold` are those of the first candidate; `gallery_size` counts each subject once.
    `condition`: of the sample, what thresholds depend on, as `snr_db`; None where one serves all.
    """

    match: str | None
    candidates: list[CandidateAnswer]
    threshold: float | None
    threshold_measured: bool
    max_fpir: float
    dim: int
    gallery_size: int
    model: str
    version: str
    face: FaceAnswer | None = None
    faces: list[IdentifiedFaceAnswer] | None = None
    condition: dict[str, float] | None = None  # no older service of version 1 tells it
    position: str | None = None  # no older service of version 1 tells it
