"""The Verifier: the one place that knows the order of the steps. Its calls block; routes keep them off the loop."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Lock
from typing import Final

from service.answers import Embeddings, Enrolled, FusedVerified, Identified, Verified
from service.batcher import BatchCounts
from service.bundle import Manifest
from service.decision import Decision, decide
from service.errors import UnknownModelError
from service.filling import fill_galleries
from service.fusion import Fusion, decide_jointly
from service.gallery.gallery import Gallery
from service.gallery.opener import GalleryOpener
from service.gallery.policy import Method
from service.gallery.tenants import TenantGalleries
from service.identification import Identification
from service.media.faces.reader import FaceChoice
from service.model import Model
from service.stages import Stage, StageReading
from service.store.records import Subject, SubjectSummary
from service.store.store import Store
from service.vectors import FloatArray, cosine_similarity, truncate_and_normalise

DEFAULT_MAX_FMR: Final = 1e-3
DEFAULT_TOP_K: Final = 5


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
        self._galleries = TenantGalleries(galleries)
        self._identification = Identification(store)
        # One writer at a time: what the store commits and what the gallery shows change in the same order.
        self._write_lock = Lock()

    def load(self) -> None:
        """Warm every model and fill the galleries from the store.

        Raises: StorageDamagedError: the store does not hold what was written.
        """
        # the look for damage keeps one core busy while the other fills
        with ThreadPoolExecutor(1, thread_name_prefix="intact") as beside:
            intact = beside.submit(self._store.require_intact)
            for model in self._models.values():
                model.warm_up()
                fill_galleries(self._store, model.manifest, partial(self._gallery, model=model))
            intact.result()

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
        similar = self._identification.similar_subjects(tenant, model.manifest, gallery, enrolment.reference)
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
        with model.times.timed("search"):  # and the store's rows of what was found
            return [
                self._identification.identify(
                    tenant, model.manifest, self._gallery(tenant, model), vector, found, top_k, dim, max_fpir
                )
                for vector, found in zip(seen.vectors, seen.faces, strict=True)
            ]

    def subject(self, tenant: str, subject_id: str) -> Subject:
        """One subject with its templates."""
        return self._store.subject(tenant, subject_id)

    def subjects(self, tenant: str, limit: int, after: str | None) -> list[SubjectSummary]:
        """A page of subjects in the order of their ids."""
        return self._store.subjects(tenant, limit, after)

    def delete_subject(self, tenant: str, subject_id: str) -> None:
        """Delete a subject with the templates of every model; it is out of every answer when this returns."""
        with self._write_lock:
            key = self._store.delete_subject(tenant, subject_id, wait_s=0.0)
            for name in self._models:
                self._gallery(tenant, self._models[name]).remove(key)
        self._store.wait_until_erased()  # not under the lock: others may write meanwhile

    def delete_template(self, tenant: str, template_id: str) -> None:
        """Delete one template; the subject's reference is the mean of those that remain when this returns."""
        with self._write_lock:
            removal = self._store.delete_template(tenant, template_id, wait_s=0.0)
            model = self._models.get(removal.model)
            # a template of a bundle that is not served is in no gallery
            if model is not None and model.manifest.version == removal.version:
                gallery = self._gallery(tenant, model)
                if removal.reference is None:
                    gallery.remove(removal.subject_key)
                else:
                    gallery.put([removal.subject_key], removal.reference.embedding[None, :])
        self._store.wait_until_erased()  # not under the lock: others may write meanwhile

    def erasures_waiting(self) -> int:
        """Deletions whose bytes a long read of another process keeps in the database's log."""
        return self._store.erasures_waiting

    def gallery_sizes(self) -> dict[tuple[str, str], int]:
        """Subjects in each gallery, keyed by tenant and model."""
        return {(tenant, model): size for (tenant, model, _), size in self._galleries.sizes().items()}

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
            (tenant, model, method): count
            for (tenant, model, _), searches in self._galleries.searches().items()
            for method, count in searches.items()
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
        manifest = model.manifest
        return self._galleries.of(tenant, manifest.name, manifest.version, manifest.full_dim)


def _decide(
    manifest: Manifest, dim: int, max_fmr: float, reference: FloatArray, probe: FloatArray, template_count: int
) -> Decision:
    similarity = float(cosine_similarity(reference, probe, dim)[0, 0])
    return decide(manifest.per_dim[str(dim)], similarity, template_count, max_fmr)
