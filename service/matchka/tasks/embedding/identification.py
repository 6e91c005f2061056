"""1:N decisions: candidates of a gallery against the threshold that keeps the FPIR."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from matchka.bundles.manifest import Manifest
from matchka.bundles.outputs import EmbeddingOutput
from matchka.gallery.gallery import Gallery
from matchka.inference.model import Model
from matchka.modalities.modality import Finding
from matchka.store.records import Reference
from matchka.store.store import Store
from matchka.tasks.embedding.embedding import Embedded, embed
from matchka.tasks.embedding.results import Candidate, Identified, SubjectSimilarity
from matchka.tasks.embedding.thresholds import identification_threshold
from matchka.vectors import FloatArray

DEFAULT_MAX_FPIR: Final = 1e-2
MOST_SIMILAR_SUBJECTS: Final = 5  # near-duplicates that an enrolment reports


@dataclass(frozen=True)
class Search:
    """One gallery to be searched, and the probe as its version embeds it: float32, (full_dim,), unit length."""

    manifest: Manifest
    dim: int
    gallery: Gallery
    probe: FloatArray


class Identifier:
    """Searches galleries and names what was found.

    Args: store: the system of record; a candidate that it no longer holds is left out.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def identify(
        self, tenant: str, searches: Sequence[Search], finding: Finding | None, top_k: int, max_fpir: float
    ) -> Identified:
        """Search one probe in the galleries of all versions that are served.

        Every comparison, of whichever version, keeps the same false match rate, which follows from max_fpir and the
        size of all galleries together; each version turns it into a threshold of its own. Candidates are ordered by
        how far they lie above theirs.

        Args:
            tenant: owner of the galleries.
            searches: of the current version first; no subject is in two of the galleries for long.
            finding: what was seen of the probe, if anything.
            top_k: at most this many candidates.
            max_fpir: FPIR: share of impostors that may be given a name, in (0, 1).

        Raises: InvalidFieldError: max_fpir out of range.
        """
        gallery_size = sum(len(search.gallery) for search in searches)
        by_subject: dict[str, Candidate] = {}
        thresholds = []
        for search in searches:
            found, best_count = self._candidates(tenant, search, top_k)
            report = search.manifest.output(EmbeddingOutput).per_dim[str(search.dim)]
            threshold = identification_threshold(report, best_count, max_fpir, gallery_size)
            thresholds.append(threshold)
            for subject_id, similarity in found:
                # one that is just moving to a newer version is in both; it counts in the newer
                candidate = Candidate(subject_id, similarity, search.manifest, search.dim, threshold)
                by_subject.setdefault(subject_id, candidate)
        # equal margins stay in the order of the searches: within one version, that of the similarities
        candidates = sorted(by_subject.values(), key=lambda candidate: -candidate.margin)[:top_k]
        if not candidates:
            first = searches[0]
            return Identified(first.manifest, first.dim, max_fpir, None, [], thresholds[0], gallery_size, finding)
        best = candidates[0]
        match = best.subject_id if best.similarity >= best.threshold.value else None
        return Identified(best.manifest, best.dim, max_fpir, match, candidates, best.threshold, gallery_size, finding)

    def similar_subjects(
        self, tenant: str, manifest: Manifest, gallery: Gallery, reference: Reference
    ) -> list[SubjectSimilarity]:
        """Other subjects that identify would have taken for this one, at the default false positive rate."""
        embedding = manifest.output(EmbeddingOutput)
        search = Search(manifest, embedding.full_dim, gallery, reference.embedding)
        # both sides are references, so the larger of the two counts sets the threshold
        found, best_count = self._candidates(tenant, search, MOST_SIMILAR_SUBJECTS + 1)
        count = max(best_count, reference.template_count)
        report = embedding.per_dim[str(search.dim)]
        threshold = identification_threshold(report, count, DEFAULT_MAX_FPIR, len(gallery))
        others = [SubjectSimilarity(*candidate) for candidate in found if candidate[0] != reference.subject_id]
        return [other for other in others[:MOST_SIMILAR_SUBJECTS] if other.similarity >= threshold.value]

    def _candidates(self, tenant: str, search: Search, top_k: int) -> tuple[list[tuple[str, float]], int]:
        """The most similar subjects that the store still holds, and the template count of the first (1 if none)."""
        found = search.gallery.search(search.probe, search.dim, top_k)
        known = self._store.summaries_of_keys(
            tenant, [candidate.subject_key for candidate in found], search.manifest.name, search.manifest.version
        )
        held = [candidate for candidate in found if candidate.subject_key in known]
        best_count = known[held[0].subject_key].template_count if held else 1
        return [(known[c.subject_key].subject_id, c.similarity) for c in held], best_count


def observe_with_version(model: Model, sample: bytes, options: object) -> Embedded | None:
    """Embed a probe with another version; None where that finds no usable sample in it."""
    try:
        return embed(model, [sample], options)
    except model.modality.nothing_found:
        return None


def counterpart(findings: Sequence[Finding | None], wanted: Finding | None, number: int) -> int | None:
    """Which of the findings of one version is what another version found, the likeliest of several; None where none is.

    Args:
        findings: of the one version, in one file.
        wanted: of the other; None where its modality tells nothing, and the number has to say it.
        number: of `wanted` among the other's.
    """
    if wanted is None:
        return number if number < len(findings) else None
    likeness = {
        place: wanted.likeness(found)
        for place, found in enumerate(findings)
        if found is not None and wanted.is_same(found)
    }
    return max(likeness, key=likeness.__getitem__, default=None)
