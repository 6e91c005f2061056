"""Verifications and identifications."""

from typing import Annotated, TypeAlias

from matchka.api.answers.answer import SCORE, Answer, Hidden, Score
from matchka.api.answers.enrolment import SubjectSimilarityAnswer
from matchka.api.answers.samples import FaceAnswer
from matchka.runtime.audited_request import Decided
from matchka.store.audit.records import Outcome
from matchka.tasks.embedding.fusion import Require


def _of_match(match: bool) -> Outcome:
    return Outcome.MATCH if match else Outcome.NO_MATCH


class PhraseAnswer(Answer):
    """Whether a clip says a text: `llr` is the log-likelihood ratio for each phone, held against `threshold`.

    `threshold` lets through the share `max_far` of clips that say something else; `threshold_measured` is false where
    too few were counted, or no text of so many words.
    """

    match: bool
    llr: Score
    threshold: Score
    threshold_measured: bool
    max_far: float


class HeadTurnAnswer(Answer):
    """Whether a head turned as asked, in pictures of one person. Experimental.

    `turns` are of the pictures in their order, positive towards the person's left; each side needs `least_turn`. They
    are null without the scope `scores`.
    """

    match: bool
    same_person: bool
    turns: Annotated[list[float] | None, SCORE]
    least_turn: float


class VerifyAnswer(Answer):
    """A 1:1 decision. `threshold_measured` is false where the threshold lies beyond what was counted in validation.

    `similarity` is what is held against `threshold`: that of the bundle's scorer; `cosine` is for comparison. With a
    challenge there is a `phrase` or a `head_turn`, and `match` needs both: similarity >= threshold, and the challenge's
    own match. `conditions`: of each sample sent, what the threshold depends on, as `snr_db`; the lower one of probe and
    reference counts. It is null where one threshold serves all.
    """

    match: bool
    similarity: Score
    threshold: Score
    threshold_measured: bool
    max_fmr: float
    probability: Score
    cosine: Score = None  # no older service of version 1 tells it
    dim: int
    model: str
    version: str
    faces: list[FaceAnswer | None] | None = None
    conditions: list[dict[str, float] | None] | None = None  # no older service of version 1 tells them
    phrase: PhraseAnswer | None = None  # without a challenge of the kind
    head_turn: HeadTurnAnswer | None = None

    @property
    def failed_tries(self) -> int:
        """See Answer."""
        return int(not self.match)

    @property
    def decided(self) -> list[Decided]:
        """See Answer."""
        return [Decided(_of_match(self.match), None, self.threshold, self.version)]


class FusedVerifyAnswer(Answer):
    """A 1:1 decision on two modalities; similarity and threshold are 2 p - 1 of the posterior, on [-1, 1].

    `match` with `require: both` (the default): similarity >= threshold, and every part matches at `max_fmr_each`. With
    `sum`: similarity >= threshold; `max_fmr_each` is null, and parts are what each model alone would decide at
    `max_fmr`. `dim` names no single embedding and is 0. With a challenge `match` needs it as well.
    Without the scope `scores`, `parts` is null: which of them fails would let each be tried alone.
    """

    match: bool
    similarity: Score
    threshold: Score
    threshold_measured: bool
    max_fmr: float
    require: Require
    max_fmr_each: float | None
    probability: Score
    dim: int
    model: str
    version: str
    parts: Annotated[dict[str, VerifyAnswer] | None, SCORE]
    phrase: PhraseAnswer | None = None  # without a challenge of the kind
    head_turn: HeadTurnAnswer | None = None

    @property
    def failed_tries(self) -> int:
        """See Answer."""
        return int(not self.match)

    @property
    def decided(self) -> list[Decided]:
        """See Answer."""
        return [Decided(_of_match(self.match), None, self.threshold, self.version)]


class CandidateAnswer(SubjectSimilarityAnswer):
    """A subject that identify found. Versions of a model have scales of their own: similarities compare within one.

    `threshold` is that of the version, at `dim`; candidates are ordered by how far their similarity lies above it.
    """

    version: str
    dim: int
    threshold: Score


def _match_only(candidates: list[CandidateAnswer]) -> list[CandidateAnswer]:
    """The first candidate, where it matches: beside one that always does, any other would be told for free."""
    known = [(one, one.similarity, one.threshold) for one in candidates[:1]]
    return [one for one, found, least in known if found is not None and least is not None and found >= least]


Candidates: TypeAlias = Annotated[list[CandidateAnswer], Hidden(_match_only)]


class IdentifiedFaceAnswer(Answer):
    """One face of several that were looked up."""

    face: FaceAnswer | None
    condition: dict[str, float] | None = None  # as of an IdentifyAnswer
    match: str | None
    candidates: Candidates
    threshold: Score
    threshold_measured: bool


class IdentifyAnswer(Answer):
    """A 1:N decision: `match` is null where no candidate reaches the threshold.

    `version`, `dim` and `threshold` are those of the first candidate; `gallery_size` counts each subject once.
    `position`: all that was in the store then was searched. `condition`: of the sample, what thresholds depend on, as
    `snr_db`; null where one serves all.
    """

    match: str | None
    candidates: Candidates
    threshold: Score
    threshold_measured: bool
    max_fpir: float
    dim: int
    gallery_size: int
    model: str
    version: str
    face: FaceAnswer | None = None
    faces: list[IdentifiedFaceAnswer] | None = None
    condition: dict[str, float] | None = None  # no older service of version 1 tells it
    position: str | None = None

    @property
    def failed_tries(self) -> int:
        """See Answer."""
        return sum(face.match is None for face in self.faces or (self,))

    @property
    def decided(self) -> list[Decided]:
        """See Answer."""
        return [
            Decided(Outcome.UNKNOWN if one.match is None else Outcome.MATCH, one.match, one.threshold, self.version)
            for one in self.faces or (self,)
        ]
