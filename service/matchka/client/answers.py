"""What the service answers: the wire types of HTTP v1 as a client reads them, without the service's own checks."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Answer(BaseModel):
    """Base of every answer; a field that only a newer service has is left out.

    Scores are None to a key without the scope `scores`: similarities, thresholds, probabilities, log-likelihood ratios.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")


class QualityAnswer(Answer):
    """Figures of a face. Distances in pixels, the roll in degrees; yaw is 1 at about a profile, visible in [0, 1]."""

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
    """Embeddings of unit length: lists of numbers, or base64 of little-endian float32."""

    model: str
    version: str
    dim: int
    encoding: str
    embeddings: list[list[float]] | list[str]
    row_counts: list[int] = Field(default_factory=list)  # no older service of version 1 tells them
    faces: list[FaceAnswer | None] | None = None


class SubjectSimilarityAnswer(Answer):
    """A subject, its similarity by the model's scorer, and the cosine."""

    subject_id: str
    similarity: float | None
    cosine: float | None = None  # no older service of version 1 tells it


class SkippedFileAnswer(Answer):
    """A file that was left out: its place in the call, from 1, and the code, detail and remedy of its problem."""

    file: int
    code: str
    detail: str
    remedy: str


class EnrollAnswer(Answer):
    """What was stored, and subjects that may be the same person.

    `similar_subjects` is None where that is not told: without the scope `identify`, and for a while after too many
    enrolments that resembled nobody. `skipped`: files that were left out; `faces` are those of the others.
    """

    subject_id: str
    model: str
    version: str
    dim: int
    template_ids: list[str]
    template_count: int
    similar_subjects: list[SubjectSimilarityAnswer] | None
    faces: list[FaceAnswer | None] | None = None
    skipped: list[SkippedFileAnswer] = []  # no older service of version 1 tells it
    position: str | None = None  # likewise


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
    challenge there is a `phrase` or a `head_turn`, and `match` needs both.
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


class PronouncedPhoneAnswer(Answer):
    """A phone (ARPABET) and its log-likelihood ratio: near 0 where it was said, lower where it was not."""

    phone: str
    llr: float | None


class PronouncedWordAnswer(Answer):
    """A word, its ratio for each of its phones, and the phones of the pronunciation that was heard."""

    word: str
    llr: float | None
    phones: list[PronouncedPhoneAnswer]


class PronounceAnswer(Answer):
    """How well a text was said; `accuracy` is on people's scale, null where the bundle was not fitted to one."""

    phrase: PhraseAnswer
    words: list[PronouncedWordAnswer]
    accuracy: float | None
    model: str
    version: str


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
    threshold: float | None


class IdentifiedFaceAnswer(Answer):
    """One face of several that were looked up."""

    face: FaceAnswer | None
    match: str | None
    candidates: list[CandidateAnswer]
    threshold: float | None
    threshold_measured: bool


class IdentifyAnswer(Answer):
    """A 1:N decision: `match` is None where no candidate reaches the threshold.

    `version`, `dim` and `threshold` are those of the first candidate; `gallery_size` counts each subject once.
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
    position: str | None = None  # no older service of version 1 tells it


class ClassAnswer(Answer):
    """A class, and how probable it is."""

    label: str
    probability: float | None


class ClassifyAnswer(Answer):
    """The class of a sample; `label` is None where it is of none that the model knows.

    `classes`: all of them, the most probable first. `values`: what else the model estimates, by name, for example
    `snr_db`. `windows`: rows of the graph's output that all of it is pooled over. `sample`: what was seen of the sample
    before: of a radio recording its windows, samples and power.
    """

    label: str | None
    classes: list[ClassAnswer]
    values: dict[str, float]
    windows: int
    sample: dict[str, Any] | None
    model: str
    version: str


class TemplateAnswer(Answer):
    """A template, without its embedding."""

    template_id: str
    model: str
    version: str
    created_at: datetime


class TermsAnswer(Answer):
    """Why somebody is enrolled, and until when; None where that was never said, or never ends."""

    consent: str | None = None  # no older service of version 1 tells these
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
    """What the person was asked; `used_at` is None until it was answered."""

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
    """All that is held about one person, when it was read, in clear; what a newer service adds is kept."""

    model_config = ConfigDict(extra="allow")

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
    answers: list[ExportedAnswer] = Field(default_factory=list)


class ErasedRows(Answer):
    """How many rows were erased, by what they were."""

    templates: int
    references: int
    challenges: int
    attempts: int
    terms: int


class Receipt(Answer):
    """A signed receipt of a deletion; `matchka receipt verify` checks the file that it is written into."""

    model_config = ConfigDict(extra="allow")

    format: Literal["matchka-erasure-receipt-1"]
    service: str
    tenant: str
    subject_hash: str
    hash_key: str
    erased_at: str
    erased: ErasedRows
    template_ids: list[str]
    key_destroyed: bool
    complete: bool
    public_key: str
    signature: str


class ReceiptKeyAnswer(Answer):
    """The public key of receipts of deletions, Ed25519, base64 of 32 bytes."""

    public_key: str


class SubjectSummaryAnswer(Answer):
    """A subject in a page."""

    subject_id: str
    created_at: datetime
    template_count: int


class SubjectsAnswer(Answer):
    """A page of subjects; `next_cursor` is None on the last."""

    subjects: list[SubjectSummaryAnswer]
    next_cursor: str | None


class Metrics(Answer):
    """Verification accuracy in one domain: rates are fractions in [0, 1]; counts say how much they rest on."""

    eer: float
    min_dcf: float
    tar_at_fmr: dict[str, float]
    subjects: int
    mated_pairs: int
    non_mated_pairs: int


class OperatingPoint(Answer):
    """A false match rate and the threshold of similarity that keeps it; `measured` is false where it was extrapolated.

    `threshold` keeps the rate as the `promise` of the dim says; `estimate` keeps it for the very `people` it was set
    with. Without a promise both are absent, and the threshold is an estimate.
    """

    fmr: float
    threshold: float
    measured: bool
    estimate: float | None = None
    people: int | None = None


class Promise(Answer):
    """How far thresholds are kept for people who were never seen: in the share `confidence` of `resamples` draws.

    `people` are those drawn from, by domain; `selected_on` says what else they decided.
    """

    confidence: float
    method: str
    resamples: int
    seed: int
    people: dict[str, int]
    selected_on: Literal["nothing", "these people"]


class Calibration(Answer):
    """Log-likelihood ratio (natural logarithm) = scale * similarity + offset, with its cost on held-out identities."""

    scale: float
    offset: float
    cllr: float
    min_cllr: float


class GalleryThresholds(Answer):
    """Thresholds that keep an FPIR: a row for each of `max_fpirs`, a column for each of `gallery_sizes`."""

    max_fpirs: tuple[float, ...]
    gallery_sizes: tuple[int, ...]
    thresholds: tuple[tuple[float, ...], ...]


class GateComparison(Answer):
    """The EER of a dim beside that of a reference in one domain; `upper` bounds the difference at `confidence`."""

    reference: str
    unit: str
    eer: float
    reference_eer: float
    upper: float
    margin: float
    subjects: int
    mated_pairs: int
    confidence: float
    resamples: int
    verdict: Literal["passed", "refused", "undecidable"]


class BandReport(Answer):
    """What decides in one band of an embedding's condition; keyed as in a DimReport.

    `metrics` and `gate` are empty where a band was not measured for itself.
    """

    metrics: dict[str, Metrics] = {}
    calibration: dict[str, Calibration]
    operating_points: dict[str, tuple[OperatingPoint, ...]]
    identification: dict[str, GalleryThresholds] = {}
    gate: dict[str, GateComparison] = {}


class DimOrder(Answer):
    """The EER of a dim minus that of the next shorter one; with `lower` above 0 the longer one is worse."""

    against_dim: int
    difference: float
    lower: float


class DimReport(Answer):
    """All that was measured at one dim. Metrics, `gate` and `order` are keyed by domain.

    Calibration, operating points and identification are keyed by the number of templates ("1", "3"). `bands` are those
    of the embedding's condition, the worst first; the dim's own figures are then of all together.
    """

    metrics: dict[str, Metrics]
    backbone_metrics: dict[str, Metrics]
    calibration: dict[str, Calibration]
    operating_points: dict[str, tuple[OperatingPoint, ...]]
    identification: dict[str, GalleryThresholds] = {}
    gate: dict[str, GateComparison] = {}
    order: dict[str, DimOrder] = {}
    promise: Promise | None = None
    bands: tuple[BandReport, ...] | None = None


class Source(Answer):
    """Where a part of a bundle came from: its place, version, sha256 of the file taken, and licence."""

    name: str
    source: str
    version: str
    sha256: str
    licence: str


class DatasetUse(Answer):
    """A data set that shaped or measured a bundle, its licence and what it was used for."""

    name: str
    source: str
    licence: str
    use: str


class ModelAnswer(Answer):
    """A served bundle: what it takes and returns, the dims of its embedding, and for each what was measured.

    `input` is how samples become what the graph takes, for example the sizes of faces that are enhanced before.
    `outputs` are by name; each has a `kind` and what belongs to it, for example `labels`. Of older services
    there are none, nor an input, and both memories are 0.
    A bundle without an embedding has no dims, and a full_dim of 0.
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
    input: dict[str, Any] = Field(default_factory=dict)
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
    graph_bytes: int = 0
    gallery_bytes: int = 0
    graph: str = "float"


class ParametersAnswer(Answer):
    """A setting: each parameter by name, in its unit and within its range."""

    parameters: dict[str, float]
    model: str
    version: str


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
    """A record of the audit log: who asked for what, and what was decided.

    `subject` is a keyed hash; `count` says for how many refusals of the same kind it stands, or how many templates.
    """

    at: datetime
    outcome: str
    call: str
    tenant: str | None
    key_id: str | None
    subject: str | None
    model: str | None
    version: str | None
    threshold: float | None
    detail: str | None
    network: str | None
    request_id: str | None
    count: int


class AuditAnswer(Answer):
    """A page of the audit log, oldest first; `next_cursor` is null on the last one."""

    records: list[AuditRecordAnswer]
    next_cursor: str | None


class ReadyAnswer(Answer):
    """Ready, and how many subjects have no template of the current version of a model, by model."""

    status: str
    subjects_to_reenroll: dict[str, int]


class Problem(Answer):
    """An error (RFC 9457) with a stable code, the offending value and the remedy."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    value: str | None
    remedy: str
    request_id: str | None = None
