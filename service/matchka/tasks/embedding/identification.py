"""1:N decisions: candidates of a gallery against the threshold that keeps the FPIR."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np

from matchka.bundles.outputs.embedding import EmbeddingOutput
from matchka.gallery.gallery import Gallery
from matchka.inference.model import Model
from matchka.modalities.modality import Finding
from matchka.scorers import LEAST_SHORTLIST, SHORTLIST_FACTOR, CountedEmbeddings, counted
from matchka.store.feed.snapshot import Snapshot
from matchka.store.records import Reference
from matchka.store.store import Store
from matchka.tasks.embedding.embedding import Embedded, embed
from matchka.tasks.embedding.results import Candidate, Identified, SubjectSimilarity
from matchka.tasks.embedding.thresholds import Report, Threshold, identification_threshold
from matchka.vectors import FloatArray, truncate_and_normalise, truncate_and_normalise_or_zero

DEFAULT_MAX_FPIR: Final = 1e-2
NEAR_FACTOR: Final = 10  # a near miss would match at so many times the rate
MOST_LENIENT: Final = 0.5
LEAST_RANKED: Final = 16  # subjects that are ranked: near misses show whatever number of candidates is asked for
RANKED_FACTOR: Final = 4  # and so many times as many while all of them are near
REFILL_FACTOR: Final = 4  # as many more are proposed where some of those before are gone

# the most similar first, and near misses: see Identifier.similar_subjects()
SimilarSubjects: TypeAlias = tuple[list[SubjectSimilarity], tuple[str, ...]]


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

    def shortlist(self, top_k: int) -> int:
        """How many the gallery has to find so that those that lie highest above their thresholds are among them."""
        found = self.model.scorer.shortlist(top_k)
        return found if self.embedding.condition is None else max(found, LEAST_SHORTLIST, SHORTLIST_FACTOR * top_k)

    def thresholds(
        self, found: "Sequence[Ranked]", max_fpir: float, gallery_size: int, own_count: int = 1
    ) -> list[Threshold]:
        """The threshold of each that was found.

        With a condition, it is of the band of the lower one, the candidate's or the probe's, and of the candidate's
        number of templates: whoever lies highest above a threshold of their own need not be the most similar. Without
        one, all have the threshold of the most similar.

        Args:
            found: the most similar first.
            max_fpir: see Identifier.identify().
            gallery_size: subjects compared with, >= 0.
            own_count: templates that the probe is the mean of; the larger of the two numbers sets the threshold.

        Raises: InvalidFieldError: max_fpir out of range.
        """
        ruling = found if self.embedding.condition else [found[0] for _ in found]
        known: dict[tuple[int, ...], Threshold] = {}  # candidates are many, bands and numbers of templates few
        thresholds = []
        for one in ruling:
            reports = self.embedding.reports_for(self.dim, (self.condition, one.condition))
            count = max(one.template_count, own_count)
            key = (count, *map(id, reports))
            if key not in known:
                known[key] = _highest(reports, count, max_fpir, gallery_size)
            thresholds.append(known[key])
        return thresholds

    def near_misses(
        self, found: "Sequence[Ranked]", max_fpir: float, gallery_size: int, own_count: int = 1
    ) -> set[str]:
        """Those of the subjects found that would match at NEAR_FACTOR times the rate; the arguments are as above."""
        lenient = self.thresholds(found, min(MOST_LENIENT, NEAR_FACTOR * max_fpir), gallery_size, own_count)
        return {one.subject_id for one, least in zip(found, lenient, strict=True) if one.similarity >= least.value}

    def threshold_of_none(self, max_fpir: float, gallery_size: int) -> Threshold:
        """The threshold where nobody is found: that of one template as good as the probe.

        Raises: InvalidFieldError: max_fpir out of range.
        """
        return _highest(self.embedding.reports_for(self.dim, [self.condition]), 1, max_fpir, gallery_size)


@dataclass(frozen=True)
class Ranked(SubjectSimilarity):
    """A subject that the store holds, how many templates its reference has, and their lowest condition, if any."""

    template_count: int
    condition: float | None


class Identifier:
    """Searches galleries and names what was found.

    Args:
        store: the system of record; a candidate that it no longer holds is left out.
        seen: what of the store is in the galleries.
    """

    def __init__(self, store: Store, seen: Callable[[], Snapshot]) -> None:
        self._store = store
        self._seen = seen

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
        gallery_size = sum(self._size(tenant, search) for search in searches)
        by_subject: dict[str, Candidate] = {}
        near: set[str] = set()
        for search in searches:
            found, missed = self._ranked(tenant, search, max(top_k, LEAST_RANKED), max_fpir, gallery_size)
            for one, threshold in zip(found, search.thresholds(found, max_fpir, gallery_size), strict=True):
                manifest = search.model.manifest
                # one that is just moving to a newer version is in both; it counts in the newer
                candidate = Candidate(one.subject_id, one.similarity, one.cosine, manifest, search.dim, threshold)
                by_subject.setdefault(one.subject_id, candidate)
            near |= missed
        # equal margins stay in the order of the searches: within one version, that of the similarities
        ranked = sorted(by_subject.values(), key=lambda candidate: -candidate.margin)
        if not ranked:
            first = searches[0]
            threshold = first.threshold_of_none(max_fpir, gallery_size)
            return Identified(first.model.manifest, first.dim, max_fpir, None, [], threshold, gallery_size, finding)
        near |= {one.subject_id for one in ranked if one.margin >= 0}
        best = ranked[0]
        match = best.subject_id if best.margin >= 0 else None
        further = tuple(one for one in ranked[top_k:] if one.subject_id in near)
        rest = (best.threshold, gallery_size, finding, frozenset(near), further)
        return Identified(best.manifest, best.dim, max_fpir, match, ranked[:top_k], *rest)

    def similar_subjects(self, tenant: str, model: Model, gallery: Gallery, reference: Reference) -> SimilarSubjects:
        """Other subjects that identify would have taken for this one, at the default false positive rate; near misses.

        The most similar of them come first. All but that one are among the near misses: it is the answer, they are
        what an answer tells beside.
        """
        embedding = model.manifest.output(EmbeddingOutput)
        own = counted(reference.embedding[None, :], [reference.row_count])
        search = Search(model, embedding.full_dim, gallery, own, reference.condition)
        rates = (DEFAULT_MAX_FPIR, self._size(tenant, search), reference.template_count)
        found, near = self._ranked(tenant, search, LEAST_RANKED, *rates)
        # both sides are references, so the larger of the two counts sets the threshold
        thresholds = search.thresholds(found, *rates)
        similar: list[SubjectSimilarity] = [
            one
            for one, threshold in zip(found, thresholds, strict=True)
            if one.subject_id != reference.subject_id and one.similarity >= threshold.value
        ]
        missed = near - {reference.subject_id} - {one.subject_id for one in similar[:1]}
        return similar, tuple(sorted(missed))

    def _ranked(
        self, tenant: str, search: Search, least: int, max_fpir: float, gallery_size: int, own_count: int = 1
    ) -> tuple[list[Ranked], set[str]]:
        """The most similar subjects, at least so many, and all that are near: a crowd of others hides none of them."""
        while True:
            found = self._candidates(tenant, search, least)
            near = search.near_misses(found, max_fpir, gallery_size, own_count)
            if len(near) < len(found) or least >= len(search.gallery):
                return found, near
            least *= RANKED_FACTOR

    def _candidates(self, tenant: str, search: Search, top_k: int) -> list[Ranked]:
        """The most similar subjects that the store still holds, the most similar first.

        The gallery proposes, by cosine; what it has may be older than what the store holds, which is compared here.
        """
        found = self._living(tenant, search, search.shortlist(top_k))
        if not found:
            return []
        references = counted(np.stack([one.embedding for one in found]), [one.row_count for one in found])
        cosines = _cosines(references.vectors, search.probe.vectors, search.dim)
        similarities = cosines
        if not search.model.scorer.is_cosine:
            similarities = search.model.scorer.similarities(search.probe, references, search.dim)[0].tolist()
        ranked = [
            Ranked(one.subject_id, similarity, cosine, one.template_count, one.condition)
            for one, similarity, cosine in zip(found, similarities, cosines, strict=True)
        ]
        ranked.sort(key=lambda one: (-one.similarity, -one.cosine))  # several may be clipped at 1
        return ranked if search.embedding.condition else ranked[:top_k]  # thresholds may still change the order

    def _living(self, tenant: str, search: Search, wanted: int) -> list[Reference]:
        """What the store holds of those that the gallery proposes: so many, unless the gallery has no more of them."""
        manifest = search.model.manifest
        held: dict[int, Reference | None] = {}
        count = wanted
        while True:
            hits = search.gallery.search(search.probe.vectors[0], search.dim, count)
            new = [hit.subject_key for hit in hits if hit.subject_key not in held]
            known = self._store.references_of_keys(tenant, new, manifest.name, manifest.version)
            held |= {key: known.get(key) for key in new}
            living = [one for hit in hits if (one := held[hit.subject_key]) is not None]
            if len(living) >= wanted or len(hits) < count:
                return living[:wanted]
            count *= REFILL_FACTOR

    def _size(self, tenant: str, search: Search) -> int:
        """Subjects that a search compares with, without those that the store is known to hold no more."""
        manifest = search.model.manifest
        gone = self._store.deleted_since(self._seen(), tenant, manifest.name, manifest.version)
        outdated = search.gallery.count_of(gone) if gone else 0
        return max(0, len(search.gallery) - outdated)


def _cosines(references: FloatArray, probe: FloatArray, dim: int) -> list[float]:
    """Cosines of references with one probe; 0, as in a gallery, where a reference has no direction at the dim."""
    products = truncate_and_normalise_or_zero(references, dim) @ truncate_and_normalise(probe, dim)[0]
    return [float(one) for one in np.clip(products, -1.0, 1.0)]


def _highest(reports: Sequence[Report], template_count: int, max_fpir: float, gallery_size: int) -> Threshold:
    every = (identification_threshold(report, template_count, max_fpir, gallery_size) for report in reports)
    return max(every, key=lambda threshold: threshold.value)


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
