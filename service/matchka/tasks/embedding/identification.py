"""1:N decisions: candidates of a gallery against the threshold that keeps the FPIR."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

import numpy as np

from matchka.bundles.outputs.embedding import EmbeddingOutput
from matchka.gallery.gallery import Gallery, SearchHit
from matchka.inference.model import Model
from matchka.modalities.modality import Finding
from matchka.scorers import LEAST_SHORTLIST, SHORTLIST_FACTOR, CountedEmbeddings, counted
from matchka.store.feed.snapshot import Snapshot
from matchka.store.records import Reference, Unseen
from matchka.store.store import Store
from matchka.tasks.embedding.embedding import Embedded, embed
from matchka.tasks.embedding.results import Candidate, Identified, SubjectSimilarity
from matchka.tasks.embedding.thresholds import Report, Threshold, identification_threshold
from matchka.vectors import cosines_with

DEFAULT_MAX_FPIR: Final = 1e-2
NEAR_FACTOR: Final = 10  # a near miss would match at so many times the rate
MOST_LENIENT: Final = 0.5
LEAST_RANKED: Final = 16  # subjects that are ranked: near misses show whatever number of candidates is asked for
RANKED_FACTOR: Final = 4  # and so many times as many while all of them are near
NOTHING_UNSEEN: Final = Unseen({}, is_complete=True)
REFILL_FACTOR: Final = 4  # as many more are proposed where some of those before are gone

# the most similar first, and near misses: see Identifier.similar_subjects()
SimilarSubjects: TypeAlias = tuple[list[SubjectSimilarity], tuple[str, ...]]


@dataclass(frozen=True)
class Search:
    """One gallery to be searched, and the one probe as its version embeds it.

    Attributes:
        condition: of the probe; None where the bundle has no such condition, or it was not kept.
        unseen: what has changed and is not in the gallery yet.
    """

    model: Model
    dim: int
    gallery: Gallery
    probe: CountedEmbeddings
    condition: float | None
    unseen: Unseen = NOTHING_UNSEEN

    @property
    def size(self) -> int:
        """Subjects that are compared, without those that the store is known to hold no more."""
        gone = self.unseen.gone
        outdated = self.gallery.count_of(gone) if gone else 0
        return max(0, len(self.gallery) - outdated)

    @property
    def ranks_by_cosine(self) -> bool:
        """Whether the gallery's order is final: similarities are cosines, and all have one threshold."""
        return self.model.scorer.is_cosine and self.embedding.condition is None

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
        are_shared: whether other processes change the galleries, too, so that any reference there may be an older one.
    """

    def __init__(self, store: Store, seen: Callable[[], Snapshot], *, are_shared: bool = False) -> None:
        self._store = store
        self._seen = seen
        self._are_shared = are_shared

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
        searches = [replace(search, unseen=self._unseen(tenant, search.model)) for search in searches]
        gallery_size = sum(search.size for search in searches)
        told = searches[0].embedding.told(searches[0].condition)
        by_subject: dict[str, Candidate] = {}
        near: set[str] = set()
        # the oldest is searched first: who moves to a newer one meanwhile is entered there before being removed here
        least = max(top_k, LEAST_RANKED)
        ranked_of = [self._ranked(tenant, search, least, max_fpir, gallery_size) for search in reversed(searches)]
        for search, (found, missed) in zip(searches, reversed(ranked_of), strict=True):
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
            manifest, dim = first.model.manifest, first.dim
            return Identified(manifest, dim, max_fpir, None, [], threshold, gallery_size, finding, condition=told)
        near |= {one.subject_id for one in ranked if one.margin >= 0}
        best = ranked[0]
        match = best.subject_id if best.margin >= 0 else None
        further = tuple(one for one in ranked[top_k:] if one.subject_id in near)
        rest = (best.threshold, gallery_size, finding, frozenset(near), further, told)
        return Identified(best.manifest, best.dim, max_fpir, match, ranked[:top_k], *rest)

    def similar_subjects(self, tenant: str, model: Model, gallery: Gallery, reference: Reference) -> SimilarSubjects:
        """Other subjects that identify would have taken for this one, at the default false positive rate; near misses.

        The most similar of them come first. All but that one are among the near misses: it is the answer, they are
        what an answer tells beside.
        """
        embedding = model.manifest.output(EmbeddingOutput)
        own = counted(reference.embedding[None, :], [reference.row_count])
        unseen = self._unseen(tenant, model)
        search = Search(model, embedding.full_dim, gallery, own, reference.condition, unseen)
        rates = (DEFAULT_MAX_FPIR, search.size, reference.template_count)
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

        The gallery proposes: it ranks by cosine. The store disposes: where it holds nothing of some, more are proposed;
        and what another scorer may think of the best is settled here.
        """
        compare = self._by_cosine if search.ranks_by_cosine else self._by_scorer
        wanted = count = search.shortlist(top_k)
        while True:
            hits = search.gallery.search(search.probe.vectors[0], search.dim, count)
            ranked = compare(tenant, search, hits)
            if len(ranked) >= wanted or len(hits) < count:
                return ranked if search.embedding.condition else ranked[:top_k]  # thresholds may change the order
            count *= REFILL_FACTOR

    def _by_cosine(self, tenant: str, search: Search, hits: Sequence[SearchHit]) -> list[Ranked]:
        manifest = search.model.manifest
        keys = [hit.subject_key for hit in hits]
        known = self._store.summaries_of_keys(tenant, keys, manifest.name, manifest.version)
        changed = [key for key in keys if key in known and (self._are_shared or search.unseen.may_have(key))]
        if not changed:
            living = ((known[hit.subject_key], hit.similarity) for hit in hits if hit.subject_key in known)
            return [Ranked(one.subject_id, cosine, cosine, one.template_count, None) for one, cosine in living]
        now = self._store.references_of_keys(tenant, changed, manifest.name, manifest.version)
        cosines = {hit.subject_key: hit.similarity for hit in hits if hit.subject_key in known.keys() - changed}
        if now:
            again = np.stack([one.embedding for one in now.values()])
            cosines |= dict(zip(now, cosines_with(again, search.probe.vectors[0], search.dim).tolist(), strict=True))
        best = sorted(cosines, key=lambda key: (-cosines[key], key))
        return [
            Ranked(known[key].subject_id, cosines[key], cosines[key], known[key].template_count, None) for key in best
        ]

    def _by_scorer(self, tenant: str, search: Search, hits: Sequence[SearchHit]) -> list[Ranked]:
        manifest = search.model.manifest
        keys = [hit.subject_key for hit in hits]
        known = self._store.references_of_keys(tenant, keys, manifest.name, manifest.version)
        held = [known[key] for key in keys if key in known]
        if not held:
            return []
        references = counted(np.stack([one.embedding for one in held]), [one.row_count for one in held])
        similarities = search.model.scorer.similarities(search.probe, references, search.dim)[0].tolist()
        cosines = cosines_with(references.vectors, search.probe.vectors[0], search.dim).tolist()
        ranked = [
            Ranked(one.subject_id, similarity, cosine, one.template_count, one.condition)
            for one, similarity, cosine in zip(held, similarities, cosines, strict=True)
        ]
        return sorted(ranked, key=lambda one: (-one.similarity, -one.cosine))  # several may be clipped at 1

    def _unseen(self, tenant: str, model: Model) -> Unseen:
        manifest = model.manifest
        return self._store.unseen(self._seen(), tenant, manifest.name, manifest.version)


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
