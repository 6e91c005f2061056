"""The Verifier: the one place that knows the order of the steps. Its calls block; routes keep them off the loop."""

from collections.abc import Iterable
from dataclasses import dataclass
from threading import Lock
from typing import Final, TypeAlias

from service.batcher import BatchCounts
from service.bundle import DimReport, Manifest
from service.decision import Decision, Threshold, decide, fmr_for_fpir, threshold_at
from service.errors import UnknownModelError
from service.fusion import Fusion, decide_jointly
from service.gallery.gallery import Gallery
from service.gallery.opener import GalleryOpener
from service.gallery.policy import Method
from service.media.faces.reader import FaceChoice, FaceReading
from service.model import Model
from service.stages import Stage, StageReading
from service.store.records import Reference, Subject, SubjectSummary
from service.store.store import Store
from service.vectors import FloatArray, cosine_similarity, truncate_and_normalise

DEFAULT_MAX_FMR: Final = 1e-3
DEFAULT_MAX_FPIR: Final = 1e-2
DEFAULT_TOP_K: Final = 5
MOST_SIMILAR_SUBJECTS: Final = 5  # near-duplicates that an enrolment reports


Faces: TypeAlias = tuple[FaceReading | None, ...]


@dataclass(frozen=True)
class Embeddings:
    """float32, (samples, dim), each of unit length, what made them, and the face that each shows."""

    manifest: Manifest
    dim: int
    vectors: FloatArray
    faces: Faces


@dataclass(frozen=True)
class SubjectSimilarity:
    """A subject and its cosine similarity to the probe."""

    subject_id: str
    similarity: float


@dataclass(frozen=True)
class Enrolled:
    """What an enrolment stored, and the subjects so similar that they may be the same person."""

    template_ids: tuple[str, ...]
    template_count: int
    similar_subjects: list[SubjectSimilarity]
    faces: Faces


@dataclass(frozen=True)
class Verified:
    """A 1:1 decision and what it rests on; the faces are those of the probe, or of both samples compared."""

    manifest: Manifest
    dim: int
    max_fmr: float
    decision: Decision
    faces: Faces


@dataclass(frozen=True)
class FusedVerified:
    """A 1:1 decision on two modalities at full dim, and the decision that each would make alone."""

    name: str
    max_fmr: float
    decision: Decision
    parts: dict[str, Verified]


@dataclass(frozen=True)
class Identified:
    """A 1:N decision: the subject, or None for a stranger; candidates are listed whatever the threshold says."""

    manifest: Manifest
    dim: int
    max_fpir: float
    match: str | None
    candidates: list[SubjectSimilarity]
    threshold: Threshold
    gallery_size: int
    face: FaceReading | None


class Verifier:
    """Embed, enrol, verify, identify and delete, for any tenant.

    Args:
        models: the served models.
        store: the system of record; the galleries are rebuilt from it by load().
        fusions: of served models, in the versions that are served.
        galleries: opens them; on the CPU by default.
    """

    def __init__(
        self,
        models: Iterable[Model],
        store: Store,
        fusions: Iterable[Fusion] = (),
        galleries: GalleryOpener | None = None,
    ) -> None:
        self._models = {model.manifest.name: model for model in models}
        self._fusions = {fusion.name: fusion for fusion in fusions}
        self._store = store
        self._opener = galleries or GalleryOpener()
        self._galleries: dict[tuple[str, str], Gallery] = {}
        # One writer at a time: what the store commits and what the gallery shows change in the same order.
        self._write_lock = Lock()

    def load(self) -> None:
        """Warm every model and fill the galleries from the store."""
        for name, model in self._models.items():
            model.warm_up()
            for tenant, keys, references in self._store.all_references(name, model.manifest.version):
                self._gallery(tenant, model).put(keys, references)

    @property
    def manifests(self) -> list[Manifest]:
        """The manifests of the served models, by name."""
        return [self._models[name].manifest for name in sorted(self._models)]

    def embed(
        self, model_name: str, samples: list[bytes], dim: int | None = None, face: FaceChoice | None = None
    ) -> Embeddings:
        """Embed samples at a trained dim."""
        model, dim = self._model_at(model_name, dim, face)
        seen = model.observe(samples, face or "dominant")
        return Embeddings(model.manifest, dim, truncate_and_normalise(seen.vectors, dim), seen.faces)

    def enroll(
        self, tenant: str, model_name: str, subject_id: str, samples: list[bytes], face: FaceChoice | None = None
    ) -> Enrolled:
        """Store a template for each sample; all of them or, where one fails, none."""
        model, _ = self._model_at(model_name, None, face)
        seen = model.observe(samples, face or "only")  # a second face would be enrolled by chance
        embeddings = seen.vectors
        for dim in model.manifest.dims:
            truncate_and_normalise(embeddings, dim)  # a template that has no direction at one dim is refused whole
        with self._write_lock:
            with model.times.timed("store"):
                enrolment = self._store.add_templates(
                    tenant, subject_id, model_name, model.manifest.version, embeddings
                )
            gallery = self._gallery(tenant, model)
            gallery.put([enrolment.reference.subject_key], enrolment.reference.embedding[None, :])
        similar = self._similar_subjects(tenant, model, enrolment.reference)
        return Enrolled(enrolment.template_ids, enrolment.reference.template_count, similar, seen.faces)

    def verify(
        self,
        tenant: str,
        model_name: str,
        subject_id: str,
        sample: bytes,
        dim: int | None,
        max_fmr: float,
        face: FaceChoice | None = None,
    ) -> Verified:
        """Compare a probe with the reference of the subject it claims to be."""
        model, dim = self._model_at(model_name, dim, face)
        with model.times.timed("store"):
            reference = self._store.reference(tenant, subject_id, model_name, model.manifest.version)
        seen = model.observe([sample], face or "dominant")
        with model.times.timed("decide"):
            decision = _decide(
                model.manifest, dim, max_fmr, reference.embedding[None, :], seen.vectors, reference.template_count
            )
        return Verified(model.manifest, dim, max_fmr, decision, seen.faces)

    def verify_jointly(
        self, tenant: str, fusion_name: str, subject_id: str, samples: dict[str, bytes], max_fmr: float
    ) -> FusedVerified:
        """Compare one probe of each modality with the references of the subject it claims to be.

        Args:
            tenant: owner of the subject.
            fusion_name: for example `voice+face`.
            subject_id: enrolled with both models.
            samples: model name -> file.
            max_fmr: false match rate to keep.

        Raises: UnknownModelError: there is no such fusion of the served models.
        """
        fusion = self._fusions.get(fusion_name)
        if fusion is None:
            raise UnknownModelError(
                "There is no such fusion of the served models.",
                value=fusion_name,
                remedy=f"Known: {', '.join(sorted(self._fusions)) or 'none'}; a fusion holds for one version of each.",
            )
        parts = {name: self.verify(tenant, name, subject_id, sample, None, max_fmr) for name, sample in samples.items()}
        reports = {name: self._models[name].manifest.per_dim[str(part.dim)] for name, part in parts.items()}
        counts = {
            name: self._store.reference(tenant, subject_id, name, part.manifest.version).template_count
            for name, part in parts.items()
        }
        similarities = {name: part.decision.similarity for name, part in parts.items()}
        decision = decide_jointly(fusion, reports, similarities, counts, max_fmr)
        return FusedVerified(fusion_name, max_fmr, decision, parts)

    def compare(
        self,
        model_name: str,
        sample_a: bytes,
        sample_b: bytes,
        dim: int | None,
        max_fmr: float,
        face: FaceChoice | None = None,
    ) -> Verified:
        """Compare two samples; nothing is stored."""
        model, dim = self._model_at(model_name, dim, face)
        seen = model.observe([sample_a, sample_b], face or "dominant")
        decision = _decide(model.manifest, dim, max_fmr, seen.vectors[:1], seen.vectors[1:], 1)
        return Verified(model.manifest, dim, max_fmr, decision, seen.faces)

    def identify(
        self, tenant: str, model_name: str, sample: bytes, top_k: int, dim: int | None, max_fpir: float
    ) -> Identified:
        """identify_each() of the dominant face, or of a clip."""
        return self.identify_each(tenant, model_name, sample, top_k, dim, max_fpir)[0]

    def identify_each(
        self,
        tenant: str,
        model_name: str,
        sample: bytes,
        top_k: int,
        dim: int | None,
        max_fpir: float,
        face: FaceChoice | None = None,
    ) -> list[Identified]:
        """Search a probe in the tenant's gallery; the threshold follows from max_fpir and the gallery's size.

        Returns: one decision; one for each face, most prominent first, where all faces were asked for.
        """
        model, dim = self._model_at(model_name, dim, face)
        seen = model.observe([sample], face or "dominant")
        return [
            self._identify_one(tenant, model, vector, found, top_k, dim, max_fpir)
            for vector, found in zip(seen.vectors, seen.faces, strict=True)
        ]

    def _identify_one(
        self,
        tenant: str,
        model: Model,
        probe: FloatArray,
        face: FaceReading | None,
        top_k: int,
        dim: int,
        max_fpir: float,
    ) -> Identified:
        gallery = self._gallery(tenant, model)
        gallery_size = len(gallery)
        fmr = fmr_for_fpir(max_fpir, gallery_size)
        report = model.manifest.per_dim[str(dim)]
        candidates, best_count = self._candidates(tenant, model, gallery, probe, dim, top_k)
        threshold = threshold_at(report, best_count, fmr)
        is_match = bool(candidates) and candidates[0].similarity >= threshold.value
        return Identified(
            model.manifest,
            dim,
            max_fpir,
            candidates[0].subject_id if is_match else None,
            candidates,
            threshold,
            gallery_size,
            face,
        )

    def subject(self, tenant: str, subject_id: str) -> Subject:
        """One subject with its templates."""
        return self._store.subject(tenant, subject_id)

    def subjects(self, tenant: str, limit: int, after: str | None) -> list[SubjectSummary]:
        """A page of subjects in the order of their ids."""
        return self._store.subjects(tenant, limit, after)

    def delete_subject(self, tenant: str, subject_id: str) -> None:
        """Delete a subject with the templates of every model; it is out of every answer when this returns."""
        with self._write_lock:
            key = self._store.delete_subject(tenant, subject_id)
            for name in self._models:
                self._gallery(tenant, self._models[name]).remove(key)

    def delete_template(self, tenant: str, template_id: str) -> None:
        """Delete one template; the subject's reference is the mean of those that remain when this returns."""
        with self._write_lock:
            removal = self._store.delete_template(tenant, template_id)
            model = self._models.get(removal.model)
            if model is None or model.manifest.version != removal.version:
                return  # a template of a bundle that is not served is in no gallery
            gallery = self._gallery(tenant, model)
            if removal.reference is None:
                gallery.remove(removal.subject_key)
            else:
                gallery.put([removal.subject_key], removal.reference.embedding[None, :])

    def gallery_sizes(self) -> dict[tuple[str, str], int]:
        """Subjects in each gallery, keyed by tenant and model."""
        return {key: len(gallery) for key, gallery in list(self._galleries.items())}

    def batch_counts(self) -> dict[str, BatchCounts]:
        """What the batcher of each model did and what waits in it, by model."""
        batchers = {name: model.batcher for name, model in self._models.items()}
        return {name: batcher.counts() for name, batcher in batchers.items() if batcher is not None}

    def stage_times(self) -> dict[str, dict[Stage, StageReading]]:
        """What the stages of each model took so far, by model."""
        return {name: model.times.readings() for name, model in self._models.items()}

    def gallery_searches(self) -> dict[tuple[str, str, Method], int]:
        """Searches in each gallery, keyed by tenant, model and the method that was chosen."""
        return {
            (*key, method): count
            for key, gallery in list(self._galleries.items())
            for method, count in gallery.searches().items()
        }

    def require_model(self, name: str) -> Model:
        """A served model by its name.

        Raises: UnknownModelError: none has it.
        """
        model = self._models.get(name)
        if model is None:
            raise UnknownModelError(
                "There is no such model.", value=name, remedy=f"Use one of: {', '.join(sorted(self._models))}."
            )
        return model

    def _model_at(self, name: str, dim: int | None, face: FaceChoice | None = None) -> tuple[Model, int]:
        model = self.require_model(name)
        model.require_no_face_choice(face)
        return model, model.manifest.require_dim(dim)

    def _gallery(self, tenant: str, model: Model) -> Gallery:
        key = (tenant, model.manifest.name)
        # setdefault is atomic: two threads that meet here end with the same gallery
        return self._galleries.get(key) or self._galleries.setdefault(key, self._opener.open(model.manifest.full_dim))

    def _candidates(
        self, tenant: str, model: Model, gallery: Gallery, probe: FloatArray, dim: int, top_k: int
    ) -> tuple[list[SubjectSimilarity], int]:
        """The most similar subjects that the store still holds, and the template count of the first (1 if none)."""
        with model.times.timed("search"):
            found = gallery.search(probe, dim, top_k)
        with model.times.timed("store"):
            known = self._store.references_of_keys(
                tenant, [candidate.subject_key for candidate in found], model.manifest.name, model.manifest.version
            )
        held = [candidate for candidate in found if candidate.subject_key in known]
        best_count = known[held[0].subject_key].template_count if held else 1
        return [SubjectSimilarity(known[c.subject_key].subject_id, c.similarity) for c in held], best_count

    def _similar_subjects(self, tenant: str, model: Model, reference: Reference) -> list[SubjectSimilarity]:
        """Other subjects that identify would have taken for this one, at the default false positive rate."""
        dim = model.manifest.full_dim
        gallery = self._gallery(tenant, model)
        fmr = fmr_for_fpir(DEFAULT_MAX_FPIR, len(gallery))
        report: DimReport = model.manifest.per_dim[str(dim)]
        # both sides are references, so the larger of the two counts sets the threshold
        candidates, best_count = self._candidates(
            tenant, model, gallery, reference.embedding, dim, MOST_SIMILAR_SUBJECTS + 1
        )
        threshold = threshold_at(report, max(best_count, reference.template_count), fmr)
        others = [candidate for candidate in candidates if candidate.subject_id != reference.subject_id]
        return [candidate for candidate in others[:MOST_SIMILAR_SUBJECTS] if candidate.similarity >= threshold.value]


def _decide(
    manifest: Manifest, dim: int, max_fmr: float, reference: FloatArray, probe: FloatArray, template_count: int
) -> Decision:
    similarity = float(cosine_similarity(reference, probe, dim)[0, 0])
    return decide(manifest.per_dim[str(dim)], similarity, template_count, max_fmr)
