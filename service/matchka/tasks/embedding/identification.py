"""1:N decisions: candidates of a gallery against the threshold that keeps the FPIR."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from matchka.bundles.outputs.embedding import EmbeddingOutput
from matchka.gallery.gallery import Gallery, SearchHit
from matchka.inference.model import Model
from matchka.modalities.modality import Finding
from matchka.scorers import LEAST_SHORTLIST, SHORTLIST_FACTOR, CountedEmbeddings, counted
from matchka.store.records import Reference
from matchka.store.store import Store
from matchka.tasks.embedding.embedding import Embedded, embed
from matchka.tasks.embedding.results import Candidate, Identified, SubjectSimilarity
from matchka.tasks.embedding.thresholds import Threshold, identification_threshold

DEFAULT_MAX_FPIR: Final = 1e-2
MOST_SIMILAR_SUBJECTS: Final = 5  # near-duplicates that an enrolment reports


@dataclass(frozen=True)
class Search:
    """One gallery to be searched, and the one probe as its version embeds it.

    Attributes: condition: of the probe; None where the bundle has no such condition, or it was not kept.
    """

    model: Model
    dim: int
    gallery: Gallery
    probe: CountedEmbeddings
    condition: float | None

    @property
    def embedding(self) -> EmbeddingOutput:
        """What the bundle states."""
        return self.model.manifest.output(EmbeddingOutput)

    @property
    def ranks_by_cosine(self) -> bool:
        """Whether the gallery's order is final: similarities are cosines, and all have one threshold."""
        return self.model.scorer.is_cosine and self.embedding.condition is None

    def shortlist(self, top_k: int) -> int:
        """How many the gallery has to find so that those that lie highest above their thresholds are among them."""
        found = self.model.scorer.shortlist(top_k)
        return found if self.embedding.condition is None else max(found, LEAST_SHORTLIST, SHORTLIST_FACTOR * top_k)

    def thresholds(self, found: "Sequence[Ranked]", max_fpir: float, gallery_size: int, count: int) -> list[Threshold]:
        """The threshold of each that was found: of the band of the lower condition, its own or the probe's."""
        reports = [self.embedding.report_for(self.dim, (self.condition, one.condition)) for one in found]
        different = {id(report): report for report in reports}
        found_for = {
            key: identification_threshold(report, count, max_fpir, gallery_size) for key, report in different.items()
        }
        return [found_for[id(report)] for report in reports]


@dataclass(frozen=True)
class Ranked(SubjectSimilarity):
    """A subject that the store holds, how many templates its reference has, and their lowest condition, if any."""

    template_count: int
    condition: float | None


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
            found = self._candidates(tenant, search, top_k)
            manifest, count = search.model.manifest, _count_of_best(found)
            report = search.embedding.report_for(search.dim, [search.condition])
            thresholds.append(identification_threshold(report, count, max_fpir, gallery_size))  # where nobody is found
            own = search.thresholds(found, max_fpir, gallery_size, count)
            for one, threshold in zip(found, own, strict=True):
                # one that is just moving to a newer version is in both; it counts in the newer
                candidate = Candidate(one.subject_id, one.similarity, one.cosine, manifest, search.dim, threshold)
                by_subject.setdefault(one.subject_id, candidate)
        # equal margins stay in the order of the searches: within one version, that of the similarities
        candidates = sorted(by_subject.values(), key=lambda candidate: -candidate.margin)[:top_k]
        if not candidates:
            first = searches[0]
            return Identified(first.model.manifest, first.dim, max_fpir, None, [], thresholds[0], gallery_size, finding)
        best = candidates[0]
        match = best.subject_id if best.similarity >= best.threshold.value else None
        return Identified(best.manifest, best.dim, max_fpir, match, candidates, best.threshold, gallery_size, finding)

    def similar_subjects(
        self, tenant: str, model: Model, gallery: Gallery, reference: Reference
    ) -> list[SubjectSimilarity]:
        """Other subjects that identify would have taken for this one, at the default false positive rate."""
        embedding = model.manifest.output(EmbeddingOutput)
        own = counted(reference.embedding[None, :], [reference.row_count])
        search = Search(model, embedding.full_dim, gallery, own, reference.condition)
        # both sides are references, so the larger of the two counts sets the threshold
        found = self._candidates(tenant, search, MOST_SIMILAR_SUBJECTS + 1)
        count = max(_count_of_best(found), reference.template_count)
        others = [one for one in found if one.subject_id != reference.subject_id][:MOST_SIMILAR_SUBJECTS]
        thresholds = search.thresholds(others, DEFAULT_MAX_FPIR, len(gallery), count)
        pairs = zip(others, thresholds, strict=True)
        return [other for other, threshold in pairs if other.similarity >= threshold.value]

    def _candidates(self, tenant: str, search: Search, top_k: int) -> list[Ranked]:
        """The most similar subjects that the store still holds, the most similar first.

        The gallery ranks by cosine; what another scorer may think of the best of these is settled here.
        """
        hits = search.gallery.search(search.probe.vectors[0], search.dim, search.shortlist(top_k))
        if search.ranks_by_cosine:
            return self._by_cosine(tenant, search, hits)[:top_k]
        ranked = self._by_scorer(tenant, search, hits)
        return ranked if search.embedding.condition else ranked[:top_k]  # thresholds may still change the order

    def _by_cosine(self, tenant: str, search: Search, hits: Sequence[SearchHit]) -> list[Ranked]:
        manifest = search.model.manifest
        known = self._store.summaries_of_keys(
            tenant, [hit.subject_key for hit in hits], manifest.name, manifest.version
        )
        held = ((known[hit.subject_key], hit) for hit in hits if hit.subject_key in known)
        return [Ranked(one.subject_id, hit.similarity, hit.similarity, one.template_count, None) for one, hit in held]

    def _by_scorer(self, tenant: str, search: Search, hits: Sequence[SearchHit]) -> list[Ranked]:
        manifest = search.model.manifest
        known = self._store.references_of_keys(
            tenant, [hit.subject_key for hit in hits], manifest.name, manifest.version
        )
        held = [(known[hit.subject_key], hit) for hit in hits if hit.subject_key in known]
        if not held:
            return []
        references = counted(np.stack([one.embedding for one, _ in held]), [one.row_count for one, _ in held])
        similarities = search.model.scorer.similarities(search.probe, references, search.dim)[0].tolist()
        ranked = [
            Ranked(one.subject_id, similarity, hit.similarity, one.template_count, one.condition)
            for (one, hit), similarity in zip(held, similarities, strict=True)
        ]
        return sorted(ranked, key=lambda one: (-one.similarity, -one.cosine))  # several may be clipped at 1


def _count_of_best(found: Sequence[Ranked]) -> int:
    return found[0].template_count if found else 1


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
