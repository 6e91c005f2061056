"""Wire types: what the service answers."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from matchka.bundles.manifest import DatasetUse, Source
from matchka.bundles.outputs.measurements import DimReport
from matchka.runtime.audited_request import Decided
from matchka.store.audit.records import Outcome
from matchka.tasks.embedding.fusion import Require


@dataclass(frozen=True)
class Hidden:
    """Marks a field that callers without the scope `scores` do not see whole. Attributes: rule: what they see of it."""

    rule: Callable[[Any], Any]


SCORE: Final = Hidden(lambda _: None)
Score: TypeAlias = Annotated[float | None, SCORE]  # null without the scope `scores`


class Answer(BaseModel):
    """Base of every answer."""

    model_config = ConfigDict(frozen=True)

    @property
    def failed_tries(self) -> int:
        """How often it says that a sample is not of the subject, or of nobody in the gallery."""
        return 0

    @property
    def decided(self) -> list[Decided]:
        """What it decides, for the audit log: never scores."""
        return [Decided(Outcome.DONE, version=getattr(self, "version", None))]

    def without_scores(self) -> Self:
        """The same for callers without the scope `scores`: decisions and names, as the fields' marks say."""
        seen = {}
        for name, described in type(self).model_fields.items():
            value = getattr(self, name)
            for mark in described.metadata:
                value = mark.rule(value) if isinstance(mark, Hidden) else value
            seen[name] = _without_scores(value)
        return self.model_copy(update=seen)


def _of_match(match: bool) -> Outcome:
    return Outcome.MATCH if match else Outcome.NO_MATCH


def _without_scores(value: Any) -> Any:
    """The answers within a value without their scores."""
    if isinstance(value, Answer):
        return value.without_scores()
    if isinstance(value, list):
        return [_without_scores(one) for one in value] if any(isinstance(one, Answer) for one in value) else value
    if isinstance(value, dict):
        return {name: _without_scores(one) for name, one in value.items()}
    return value


class QualityAnswer(Answer):
    """Figures of a face: see matchka.modalities.face.quality.Quality."""

    eye_distance_px: float
    sharpness: float
    contrast: float
    yaw: float
    roll_deg: float
    visible: float


class FaceAnswer(Answer):
    """A face that was used: box (x0, y0, x1, y1) and five landmarks (x, y) in pixels, detector confidence, quality.

    `native_px`: side of the square around the face that was embedded, in pixels of the picture; `enhanced`: whether it
    was so small that it was enhanced before.
    """

    box: list[float]
    landmarks: list[list[float]]
    confidence: float
    quality: QualityAnswer
    native_px: float | None = None  # no older service of version 1 tells these two
    enhanced: bool = False


class EmbedAnswer(Answer):
    """Embeddings of unit length: lists of numbers, or base64 of little-endian float32.

    `row_counts`: of how many rows of the graph's output (windows of a recording) each is the mean.
    """

    model: str
    version: str
    dim: int
    encoding: str
    embeddings: list[list[float]] | list[str]
    row_counts: list[int] = Field(default_factory=list)  # no older service of version 1 tells them
    faces: list[FaceAnswer | None] | None = None


class OpenAiEmbedding(Answer):
    """An embedding of unit length, and the place of its sample in `input`, from 0."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str


class OpenAiUsage(Answer):
    """What was embedded: rows of the graph's output (windows of a recording), where OpenAI counts tokens."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingsAnswer(Answer):
    """Embeddings as OpenAI's interface answers them; `version` names their space, which that does not tell."""

    object: Literal["list"] = "list"
    data: list[OpenAiEmbedding]
    model: str
    version: str
    usage: OpenAiUsage


class SubjectSimilarityAnswer(Answer):
    """A subject, its similarity by the model's scorer, and the cosine."""

    subject_id: str
    similarity: Score
    cosine: Score = None  # no older service of version 1 tells it


class SkippedFileAnswer(Answer):
    """A file that was left out: its place in the call, from 1, and the code, detail and remedy of its problem."""

    file: int
    code: str
    detail: str
    remedy: str


class EnrolledFileAnswer(Answer):
    """A file of an enrolment: its place in the call, from 1, and its template; null and the code where left out."""

    file: int
    template_id: str | None
    code: str | None


class EnrollAnswer(Answer):
    """What was stored, and subjects that may be the same person.

    `similar_subjects` is null where that is not told: without the scope `identify`, and for a while after too many
    enrolments that resembled nobody. `skipped`: with `on_error=skip` the files that were left out; `faces` are those
    of the others. `files` tells of each file what became of it. `position`: a search that is sent it as
    Matchka-Position shows what was enrolled.
    """

    subject_id: str
    model: str
    version: str
    dim: int
    template_ids: list[str]
    template_count: int
    similar_subjects: list[SubjectSimilarityAnswer] | None
    faces: list[FaceAnswer | None] | None = None
    skipped: list[SkippedFileAnswer] = Field(default_factory=list)  # no older service of version 1 tells it
    files: list[EnrolledFileAnswer] = Field(default_factory=list)  # likewise
    position: str | None = None


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
    own match.
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


class PronouncedPhoneAnswer(Answer):
    """A phone (ARPABET) and its log-likelihood ratio: near 0 where it was said, lower where it was not."""

    phone: str
    llr: Score


class PronouncedWordAnswer(Answer):
    """A word, its ratio for each of its phones, and the phones of the pronunciation that was heard."""

    word: str
    llr: Score
    phones: list[PronouncedPhoneAnswer]


class PronounceAnswer(Answer):
    """How well a text was said; `accuracy` is on people's scale, null where the bundle was not fitted to one."""

    phrase: PhraseAnswer
    words: list[PronouncedWordAnswer]
    accuracy: Score
    model: str
    version: str

    @property
    def decided(self) -> list[Decided]:
        """See Answer."""
        return [Decided(_of_match(self.phrase.match), None, self.phrase.threshold, self.version)]


class TranscribeAnswer(Answer):
    """The phones of a clip (ARPABET), without words."""

    phones: list[str]
    model: str
    version: str


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
    match: str | None
    candidates: Candidates
    threshold: Score
    threshold_measured: bool


class IdentifyAnswer(Answer):
    """A 1:N decision: `match` is null where no candidate reaches the threshold.

    `version`, `dim` and `threshold` are those of the first candidate; `gallery_size` counts each subject once.
    `position`: all that was in the store then was searched.
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


class ClassAnswer(Answer):
    """A class, and how probable it is."""

    label: str
    probability: Score


class ClassifyAnswer(Answer):
    """The class of a sample; `label` is null where it is of none that the model knows.

    `classes`: all of them, the most probable first. `values`: what else the model estimates, by name, for example
    `snr_db`; the unit of each is in GET /v1/models. `windows`: rows of the graph's output that all of it is pooled
    over. `sample`: what was seen of the sample before: of a radio recording its windows, samples and power.
    """

    label: str | None
    classes: list[ClassAnswer]
    values: dict[str, float]
    windows: int
    sample: dict[str, Any] | None
    model: str
    version: str

    @property
    def decided(self) -> list[Decided]:
        """See Answer."""
        return [Decided(Outcome.UNKNOWN if self.label is None else Outcome.DONE, version=self.version)]


class ParametersAnswer(Answer):
    """A setting: each parameter by name, in its unit and within its range; GET /v1/models lists both."""

    parameters: dict[str, float]
    model: str
    version: str


class TemplateAnswer(Answer):
    """A template, without its embedding."""

    template_id: str
    model: str
    version: str
    created_at: datetime


class TermsAnswer(Answer):
    """Why somebody is enrolled, and until when; null where that was never said, or never ends."""

    consent: str | None = None
    purpose: str | None = None
    expires_at: datetime | None = None
    metadata: dict[str, str | int | float] = Field(default_factory=dict)


class SubjectTermsAnswer(TermsAnswer):
    """A subject's terms, after a change."""

    subject_id: str


class SubjectAnswer(TermsAnswer):
    """A subject, its terms and its templates."""

    subject_id: str
    created_at: datetime
    template_count: int
    templates: list[TemplateAnswer]


class ExportedEmbedding(Answer):
    """A template; or a reference, the mean of `template_count` of them, which has no id and no time of its own."""

    template_id: str
    model: str
    version: str
    created_at: datetime | None
    template_count: int
    row_count: int | None
    condition: float | None
    embedding: list[float]


class ExportedChallenge(Answer):
    """What the person was asked; `used_at` is null until it was answered."""

    kind: str
    content: str
    issued_at: datetime
    expires_at: datetime
    used_at: datetime | None


class ExportedAttempts(Answer):
    """Failed tries that are counted, by the key that they came with."""

    key_id: str
    level: float
    strikes: int
    updated_at: datetime
    blocked_until: datetime | None


class ExportedDeletion(Answer):
    """An entry of the deletion log: a template that the same id had."""

    template_id: str
    deleted_at: datetime


class ExportedAnswer(Answer):
    """What an enrolment was answered, kept for a request that is sent again."""

    answered_at: datetime
    answer: dict[str, Any]


class SubjectExportAnswer(Answer):
    """All that is held about one person, when it was read, in clear.

    `subject_hash` names the person where its id is not kept: in the deletion log, the audit log and receipts. Backups,
    exports to other systems and logs of proxies are the operator's, and not in here.
    """

    format: str
    service: str
    tenant: str
    subject_id: str
    subject_hash: str | None
    created_at: datetime
    read_at: datetime
    is_encrypted: bool
    terms: TermsAnswer
    templates: list[ExportedEmbedding]
    references: list[ExportedEmbedding]
    challenges: list[ExportedChallenge]
    attempts: list[ExportedAttempts]
    deletions: list[ExportedDeletion]
    audit: list["AuditRecordAnswer"]
    answers: list[ExportedAnswer] = Field(default_factory=list)  # no older service of version 1 tells them


class ReceiptKeyAnswer(Answer):
    """The public key of receipts, Ed25519, base64 of 32 bytes."""

    public_key: str


class SubjectSummaryAnswer(Answer):
    """A subject in a page."""

    subject_id: str
    created_at: datetime
    template_count: int


class SubjectsAnswer(Answer):
    """A page of subjects; `next_cursor` is null on the last."""

    subjects: list[SubjectSummaryAnswer]
    next_cursor: str | None


class ModelAnswer(Answer):
    """A served bundle: what it takes and returns, the dims of its embedding, and for each what was measured.

    `input` is how samples become what the graph takes, for example the sizes of faces that are enhanced before.
    `outputs` are by name; each has a `kind` and what belongs to it, for example `labels`. A bundle
    without an embedding has no dims, and a full_dim of 0.
    Enrolments go to the `current` version of a name. `subjects` are those that this version answers for;
    `subjects_to_reenroll` those that have no template of the current one.

    Two measures of its memory: `graph_bytes`, what the weights of its graphs take, which is the size of their files,
    each as often as it is opened; `gallery_bytes`, what the references of `subjects` take, with all that searches keep
    beside them. What runs and requests need while they last is in neither, nor what a GPU holds of a gallery.

    `graph` is what the graph that runs here computes in: `float`, or `int8` where the bundle has one for this CPU.
    """

    name: str
    version: str
    task: str
    input_kind: str
    input: dict[str, Any] = Field(default_factory=dict)  # no older service of version 1 tells these two
    outputs: dict[str, dict[str, Any]] = Field(default_factory=dict)
    full_dim: int
    dims: list[int]
    per_dim: dict[str, DimReport]
    backbone: Source
    projection: Source
    datasets: list[DatasetUse]
    accepted_worse: str | None
    current: bool
    subjects: int
    subjects_to_reenroll: int
    graph_bytes: int = 0  # no older service of version 1 tells these two
    gallery_bytes: int = 0
    graph: str = "float"


class ModelsAnswer(Answer):
    """Every served bundle."""

    models: list[ModelAnswer]


class KeyAnswer(Answer):
    """An API key, without its secret. A ceiling that is null bounds nothing; `last_used_at` is exact to a minute.

    `replaced_by` is the key that rotation made in its place.
    """

    key_id: str
    name: str
    tenant: str
    scopes: list[str]
    max_fmr: float | None
    max_fpir: float | None
    requests_per_s: float | None
    max_subjects: int | None
    max_templates: int | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    replaced_by: str | None
    last_used_at: datetime | None


class NewKeyAnswer(KeyAnswer):
    """A key that was just made; `key` is what its callers send, and is shown only here."""

    key: str


class KeysAnswer(Answer):
    """The keys of the caller's tenant, revoked ones included, oldest first."""

    keys: list[KeyAnswer]


class AuditRecordAnswer(Answer):
    """A record of the audit log. `subject` is a keyed hash of the tenant and the id; `count`: see docs/audit.md."""

    at: datetime
    outcome: str
    call: str
    tenant: str | None
    key_id: str | None
    subject: str | None
    model: str | None
    version: str | None
    threshold: Score
    detail: str | None
    network: str | None
    request_id: str | None
    count: int


class AuditAnswer(Answer):
    """A page of the audit log, oldest first; pass next_cursor to get the next page, until it is null."""

    records: list[AuditRecordAnswer]
    next_cursor: str | None


class HealthAnswer(Answer):
    """State of the process."""

    status: str


class ReadyAnswer(HealthAnswer):
    """Ready, and how many subjects have no template of the current version of a model, by model."""

    subjects_to_reenroll: dict[str, int]


class Problem(Answer):
    """An error, as application/problem+json (RFC 9457) with a stable code, the offending value and the remedy."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    value: str | None
    remedy: str
    request_id: str | None = None
    skipped: list[SkippedFileAnswer] = Field(
        default_factory=list,
        description="Only where bad files were to be left out and none was left: why each was refused.",
    )
