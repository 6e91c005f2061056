"""Results of the Verifier, which routes turn into replies."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import TypeAlias

from matchka.bundles.manifest import Manifest
from matchka.errors import MatchkaError
from matchka.modalities.modality import Finding
from matchka.store.feed.snapshot import Position
from matchka.tasks.embedding.fusion import Require
from matchka.tasks.embedding.thresholds import Decision, Threshold
from matchka.vectors import FloatArray

Findings: TypeAlias = tuple[Finding | None, ...]
ToldCondition: TypeAlias = dict[str, float] | None  # EmbeddingOutput.told


@dataclass(frozen=True)
class Embeddings:
    """float32, (samples, dim), each of unit length, what made them, and what was seen of each.

    Attributes: row_counts: of how many rows of the graph's output each is the mean.
    """

    manifest: Manifest
    dim: int
    vectors: FloatArray
    findings: Findings
    row_counts: tuple[int, ...]


@dataclass(frozen=True)
class SubjectSimilarity:
    """A subject, its similarity to the probe by the model's scorer, and the cosine."""

    subject_id: str
    similarity: float
    cosine: float


@dataclass(frozen=True)
class Candidate(SubjectSimilarity):
    """A subject that a search found: similarities of two versions are on scales of their own, each with a threshold."""

    manifest: Manifest
    dim: int
    threshold: Threshold

    @property
    def margin(self) -> float:
        """How far the similarity lies above its own version's threshold."""
        return self.similarity - self.threshold.value


@dataclass(frozen=True)
class Skipped:
    """A file of an enrolment that was left out: its place in the call, from 1, and why."""

    file: int
    error: MatchkaError


@dataclass(frozen=True)
class Enrolled:
    """What an enrolment stored, and the subjects so similar that they may be the same person; None: not looked up.

    Attributes:
        similar_subjects: the most similar first.
        findings: of the files that were stored.
        near: subjects that would be similar at a much higher rate, and those that are, but the most similar one.
        skipped: files that were left out, in their order.
        position: where the store is then; None where it could not be asked.
    """

    manifest: Manifest
    dim: int
    template_ids: tuple[str, ...]
    template_count: int
    similar_subjects: list[SubjectSimilarity] | None
    findings: Findings
    near: tuple[str, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    position: Position | None = None


@dataclass(frozen=True)
class Verified:
    """A 1:1 decision and what it rests on.

    Attributes:
        cosine: of the two; the decision's similarity is the scorer's.
        template_count: templates in the reference that was compared; 1 where two samples were.
        findings: of the probe, or of both samples compared.
        conditions: of these, what chose among thresholds.
    """

    manifest: Manifest
    dim: int
    max_fmr: float
    decision: Decision
    cosine: float
    template_count: int
    findings: Findings
    conditions: tuple[ToldCondition, ...]


@dataclass(frozen=True)
class FusedVerified:
    """A 1:1 decision on two modalities at full dim.

    Attributes:
        max_fmr: what the fused ratio keeps.
        max_fmr_each: what each part keeps on its own; None where the fused ratio alone decides.
        fused: the fused ratio against its threshold.
        parts: each part against its own threshold, at max_fmr_each, or at max_fmr where there is none.
    """

    name: str
    max_fmr: float
    max_fmr_each: float | None
    fused: Decision
    parts: dict[str, Verified]

    @property
    def require(self) -> Require:
        """What has to pass: `both` parts beside the fused ratio, or the fused ratio (`sum`) alone."""
        return "sum" if self.max_fmr_each is None else "both"

    @property
    def match(self) -> bool:
        """Whether all that is required passes."""
        return self.fused.match and (self.require == "sum" or all(p.decision.match for p in self.parts.values()))


@dataclass(frozen=True)
class Identified:
    """A 1:N decision: the subject, or None where nobody matches; candidates are listed whatever the threshold says.

    `manifest`, `dim` and `threshold` are those of the first candidate.

    Attributes:
        near: subjects that would match at a much higher rate, those that match included; whatever the candidates are.
        further: those of them that are no candidates, because they are too many.
        condition: of the probe, what chose among thresholds.
    """

    manifest: Manifest
    dim: int
    max_fpir: float
    match: str | None
    candidates: list[Candidate]
    threshold: Threshold
    gallery_size: int
    finding: Finding | None
    near: frozenset[str] = frozenset()
    further: tuple[Candidate, ...] = ()
    condition: ToldCondition = None

    @property
    def missed(self) -> frozenset[str]:
        """Those of `near` that are not the answer, and of whom it tells something all the same."""
        return self.near - {self.match}

    def without(self, subject_ids: Collection[str]) -> "Identified":
        """The same search as if these subjects were not there."""
        if not subject_ids:
            return self
        left = [one for one in (*self.candidates, *self.further) if one.subject_id not in subject_ids]
        top_k, near = len(self.candidates), self.near.difference(subject_ids)
        rest = replace(self, match=None, candidates=left[:top_k], near=near, further=tuple(left[top_k:]))
        if not left:
            return rest
        best = left[0]
        match = best.subject_id if best.margin >= 0 else None
        return replace(rest, manifest=best.manifest, dim=best.dim, threshold=best.threshold, match=match)


@dataclass(frozen=True)
class ModelVersion:
    """A served bundle, and whom it answers for in one tenant.

    Attributes:
        is_current: enrolments go to it.
        subjects: in its gallery.
        subjects_to_reenroll: of the current version, subjects without a template of it; of any other, `subjects`.
        graph: what its graph computes in; see matchka.inference.model.Model.
        graph_bytes: memory of its graphs' weights; see matchka.inference.model.Model.
        gallery_bytes: memory of its gallery of that tenant; see matchka.gallery.gallery.Gallery.memory_bytes.
    """

    manifest: Manifest
    is_current: bool
    subjects: int
    subjects_to_reenroll: int
    graph_bytes: int
    gallery_bytes: int
    graph: str
