"""1:N decisions: what a gallery finds, held against the threshold that keeps the false positive rate."""

from typing import Final

from service.answers import Identified, SubjectSimilarity
from service.bundle import Manifest
from service.decision import identification_threshold
from service.gallery.gallery import Gallery
from service.media.faces.reader import FaceReading
from service.store.records import Reference
from service.store.store import Store
from service.vectors import FloatArray

DEFAULT_MAX_FPIR: Final = 1e-2
MOST_SIMILAR_SUBJECTS: Final = 5  # near-duplicates that an enrolment reports


class Identification:
    """Searches galleries and names what was found.

    Args: store: the system of record; a candidate that it no longer holds is left out.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def identify(
        self,
        tenant: str,
        manifest: Manifest,
        gallery: Gallery,
        probe: FloatArray,
        face: FaceReading | None,
        top_k: int,
        dim: int,
        max_fpir: float,
    ) -> Identified:
        """Search one probe.

        Args:
            tenant: owner of the gallery.
            manifest: what made the gallery and the probe.
            gallery: what is searched.
            probe: float32, (full_dim,), unit length.
            face: the face that the probe was made of, if any.
            top_k: at most this many candidates.
            dim: a trained dim.
            max_fpir: share of strangers that may be given a name, in (0, 1).

        Raises: InvalidFieldError: max_fpir out of range.
        """
        gallery_size = len(gallery)
        candidates, best_count = self._candidates(tenant, manifest, gallery, probe, dim, top_k)
        threshold = identification_threshold(manifest.per_dim[str(dim)], best_count, max_fpir, gallery_size)
        is_match = bool(candidates) and candidates[0].similarity >= threshold.value
        return Identified(
            manifest,
            dim,
            max_fpir,
            candidates[0].subject_id if is_match else None,
            candidates,
            threshold,
            gallery_size,
            face,
        )

    def similar_subjects(
        self, tenant: str, manifest: Manifest, gallery: Gallery, reference: Reference
    ) -> list[SubjectSimilarity]:
        """Other subjects that identify would have taken for this one, at the default false positive rate."""
        dim = manifest.full_dim
        # both sides are references, so the larger of the two counts sets the threshold
        candidates, best_count = self._candidates(
            tenant, manifest, gallery, reference.embedding, dim, MOST_SIMILAR_SUBJECTS + 1
        )
        templates = max(best_count, reference.template_count)
        threshold = identification_threshold(manifest.per_dim[str(dim)], templates, DEFAULT_MAX_FPIR, len(gallery))
        others = [candidate for candidate in candidates if candidate.subject_id != reference.subject_id]
        return [candidate for candidate in others[:MOST_SIMILAR_SUBJECTS] if candidate.similarity >= threshold.value]

    def _candidates(
        self, tenant: str, manifest: Manifest, gallery: Gallery, probe: FloatArray, dim: int, top_k: int
    ) -> tuple[list[SubjectSimilarity], int]:
        """The most similar subjects that the store still holds, and the template count of the first (1 if none)."""
        found = gallery.search(probe, dim, top_k)
        known = self._store.references_of_keys(
            tenant, [candidate.subject_key for candidate in found], manifest.name, manifest.version
        )
        held = [candidate for candidate in found if candidate.subject_key in known]
        best_count = known[held[0].subject_key].template_count if held else 1
        return [SubjectSimilarity(known[c.subject_key].subject_id, c.similarity) for c in held], best_count
