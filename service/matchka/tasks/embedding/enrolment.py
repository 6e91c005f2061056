"""Enrolment: samples -> templates of one subject, after a look at whether they are its own and nobody else's."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from matchka.bundles.outputs.embedding import EmbeddingOutput
from matchka.errors import (
    DiffersFromSubjectError,
    EmptyFileError,
    FormatNotEnabledError,
    GalleryUnavailableError,
    LikelyDuplicateError,
    MatchkaError,
    NonFiniteEmbeddingError,
    NotEnrolledError,
    OtherVersionError,
    SamplesDifferError,
    TruncatedFileError,
    UnknownSubjectError,
    ZeroVectorError,
)
from matchka.inference.model import Model
from matchka.inference.registry import ModelRegistry
from matchka.store.enrolment_limits import NO_LIMITS, EnrolmentLimits
from matchka.store.enrolment_review import Files, Review
from matchka.store.feed.snapshot import Position
from matchka.store.idempotency.answers import NO_RECORDING, OnceRecording, Recording
from matchka.store.idempotency.requests import NamedRequest
from matchka.store.records import Enrolment, Reference, StoredEmbedding
from matchka.store.rights.terms import NO_CHANGE, TermsChange
from matchka.store.store import Store
from matchka.tasks.embedding.agreement import at_odds, differing, mean_of
from matchka.tasks.embedding.embedding import Embedded, embed, joined
from matchka.tasks.embedding.following.follower import Follower, stale
from matchka.tasks.embedding.following.galleries import ServedGalleries
from matchka.tasks.embedding.identification import Identifier, SimilarSubjects, observe_with_version
from matchka.tasks.embedding.results import Enrolled, Skipped
from matchka.vectors import truncate_and_normalise

# errors that say something of one file, beside those of its modality
OF_ONE_FILE: Final = (
    EmptyFileError,
    FormatNotEnabledError,
    TruncatedFileError,
    ZeroVectorError,
    NonFiniteEmbeddingError,
)


@dataclass(frozen=True)
class EnrolmentRules:
    """What one enrolment asks of its samples.

    Attributes:
        must_agree: whether they have to agree with what the subject has, or else with each other.
        skips_bad: whether files that are refused are left out; otherwise one of them refuses all.
        refuses_duplicates: whether somebody else who may be the same person refuses all, rather than being told.
        tells_similar: whether such others are looked up.
    """

    must_agree: bool = True
    skips_bad: bool = False
    refuses_duplicates: bool = False
    tells_similar: bool = True


DEFAULT_RULES: Final = EnrolmentRules()


@dataclass(frozen=True)
class Once:
    """An enrolment whose request may be sent again. Attributes: answer: what is kept to answer that with."""

    request: NamedRequest
    answer: Callable[[Enrolled], bytes]


class Enroller:
    """Stores templates of the current version of a model.

    Args:
        models: those that embed.
        store: the system of record.
        galleries: of these models.
        follower: of the store, into the galleries.
        identifier: looks for others who may be the same person.
    """

    def __init__(
        self,
        models: ModelRegistry,
        store: Store,
        galleries: ServedGalleries,
        follower: Follower,
        identifier: Identifier,
    ) -> None:
        self._models = models
        self._store = store
        self._galleries = galleries
        self._follower = follower
        self._identifier = identifier

    def enroll(
        self,
        tenant: str,
        model: Model,
        subject_id: str,
        samples: Sequence[bytes],
        given: Mapping[str, str],
        limits: EnrolmentLimits = NO_LIMITS,
        rules: EnrolmentRules = DEFAULT_RULES,
        terms: TermsChange = NO_CHANGE,
        once: Once | None = None,
    ) -> Enrolled:
        """Store a template for each sample; all of them or, where one fails, none, unless the rules skip it.

        Args:
            tenant: owner of the subject.
            model: the current version of the samples' kind.
            subject_id: made new where it does not exist.
            samples: whole files.
            given: how they are to be read.
            limits: of what the caller may add.
            rules: what is asked of the samples.
            terms: what to change of the subject's.
            once: the request, where it may be sent again.

        Raises:
            EnrolmentRepeated: it was done before; see matchka.store.idempotency.answers.Recording.begin().
            DiffersFromSubjectError: a sample does not agree with what the subject has.
            SamplesDifferError: samples do not agree with each other.
            LikelyDuplicateError: somebody else may be the same person, which the rules refuse.
            MatchkaError: a sample is not usable, or the enrolment is beyond the limits.
        """
        if once is not None:
            self._store.answers.require_new(once.request)  # again in the transaction: this only spares the embedding
        read = read_files(model, samples, model.options_for("enrolment", given), rules.skips_bad)
        look = _Look(self._identifier, self._follower, tenant, model, self._galleries)
        review = Review(files=read.files, skips=rules.skips_bad)
        if rules.must_agree:
            foreign = self._foreign_to_older(tenant, model, subject_id, read, given)
            review = replace(review, compare=_Comparison(model, subject_id, read.files, foreign).refusals)
        if rules.refuses_duplicates:
            review = replace(review, accept=look.require_nobody, is_exclusive=True)
        recording: Recording = NO_RECORDING
        if once is not None:
            recording = OnceRecording(once.request, partial(_described, once, model, read))
        with model.times.timed("store"), _others_told(read):
            enrolment = self._store.add_templates(
                tenant,
                subject_id,
                model.manifest.name,
                model.manifest.version,
                read.seen.vectors,
                read.seen.row_counts,
                read.seen.conditions,
                limits,
                review,
                terms,
                recording,
            )
            position = self._follower.position_now()
        similar = None
        if rules.tells_similar or rules.refuses_duplicates:
            with suppress(GalleryUnavailableError):  # what was stored is stored: the answer tells of nobody
                similar = look.at(enrolment.reference)
        return _result(model, read, enrolment, similar, position)

    def position_now(self) -> Position | None:
        """What a search shows at least that is sent it; it shows all that was enrolled before."""
        return self._follower.position_now()

    def similar_to(self, tenant: str, model: Model, subject_id: str) -> SimilarSubjects:
        """Others who may be the same person as a subject that has templates of the model's current version."""
        reference = self._store.reference(tenant, subject_id, model.manifest.name, model.manifest.version)
        look = _Look(self._identifier, self._follower, tenant, model, self._galleries)
        return look.at(reference)

    def _foreign_to_older(
        self, tenant: str, model: Model, subject_id: str, read: "ReadFiles", given: Mapping[str, str]
    ) -> frozenset[int]:
        """Places of the files that do not agree with the subject's templates of an older version that is served.

        Those decide where the subject has none of the current version yet: nobody else begins its new reference. What
        the older version finds nothing in does not agree.
        """
        versions = self._models.versions(model.manifest.name)
        for version in versions if len(versions) > 1 else ():
            try:
                reference = self._store.reference(tenant, subject_id, version.manifest.name, version.manifest.version)
            except (UnknownSubjectError, NotEnrolledError):
                break
            except OtherVersionError:
                continue
            if version is model:
                break  # the store compares with that, as it is when the new ones are committed
            return _foreign(version, reference, read.samples, version.options_for("enrolment", given))
        return frozenset()


def _foreign(model: Model, reference: Reference, samples: Sequence[bytes], options: object) -> frozenset[int]:
    seen = [observe_with_version(model, sample, options) for sample in samples]
    new = {place: one.template(0) for place, one in enumerate(seen) if one is not None}
    places = list(new)
    output = model.manifest.output(EmbeddingOutput)
    found = differing(output, model.scorer, reference, list(new.values())) if new else []
    return frozenset(range(len(samples))).difference(places) | {places[one] for one in found}


@dataclass(frozen=True)
class ReadFiles:
    """The files of a call that could be embedded.

    Attributes:
        files: their places in the call.
        samples: their bytes.
        seen: their embeddings.
        skipped: why the others could not be, by their places from 1.
    """

    files: Files
    samples: Sequence[bytes]
    seen: Embedded
    skipped: Mapping[int, MatchkaError]


def read_files(model: Model, samples: Sequence[bytes], options: object, skips_bad: bool) -> ReadFiles:
    """Embed the files of a call.

    Args:
        model: what embeds.
        samples: whole files, at least one.
        options: of model.options_for().
        skips_bad: whether those that cannot be enrolled are left out.

    Raises: MatchkaError: a file, or where bad ones are skipped every one, cannot be enrolled; that of the first.
    """
    if not skips_bad:
        seen = embed(model, list(samples), options)
        _require_directions(model, seen)
        return ReadFiles(Files(range(1, len(samples) + 1), len(samples)), samples, seen, {})
    found: dict[int, Embedded] = {}
    skipped: dict[int, MatchkaError] = {}
    for number, sample in enumerate(samples, start=1):
        try:
            seen = embed(model, [sample], options)
            _require_directions(model, seen)
            found[number] = seen
        except MatchkaError as error:
            if not isinstance(error, (*OF_ONE_FILE, *model.modality.errors)):
                raise
            skipped[number] = error
    if not found:
        first = skipped[min(skipped)]
        first.of_files = skipped
        raise first
    files = Files(tuple(found), len(samples))
    return ReadFiles(files, [samples[number - 1] for number in found], joined(list(found.values())), skipped)


@contextmanager
def _others_told(read: ReadFiles) -> Iterator[None]:
    """Tell with a refusal of all that could be read why the others could not."""
    try:
        yield
    except MatchkaError as error:
        error.of_files = {**read.skipped, **error.of_files}
        raise


def _require_directions(model: Model, seen: Embedded) -> None:
    for dim in model.manifest.output(EmbeddingOutput).dims:
        truncate_and_normalise(seen.vectors, dim)  # a template that has no direction at one dim is refused whole


@dataclass(frozen=True)
class _Comparison:
    """What refuses samples that do not agree.

    Attributes: foreign: places of those that do not agree with an older version's templates.
    """

    model: Model
    subject_id: str
    files: Files
    foreign: frozenset[int]

    def refusals(self, held: Sequence[StoredEmbedding], new: Mapping[int, StoredEmbedding]) -> dict[int, MatchkaError]:
        """See matchka.store.enrolment_review.Review.compare."""
        output, scorer = self.model.manifest.output(EmbeddingOutput), self.model.scorer
        if held and new:
            places = list(new)
            found = differing(output, scorer, mean_of(held), list(new.values()))
            return {places[one]: self._differs(places[one]) for one in found}
        refused: dict[int, MatchkaError] = {place: self._differs(place) for place in new if place in self.foreign}
        left = [place for place in new if place not in refused]
        found = at_odds(output, scorer, [new[place] for place in left])
        return refused | {left[one]: self._at_odds(left[one]) for one in found}

    def _differs(self, place: int) -> MatchkaError:
        return DiffersFromSubjectError(
            f"{self.files.name(place)} does not agree with what is enrolled of this subject.",
            value=self.subject_id,
            remedy="Check whose sample it is, or send a better one; a key with the scope admin may send force=true.",
        )

    def _at_odds(self, place: int) -> MatchkaError:
        return SamplesDifferError(
            f"{self.files.name(place)} does not agree with the others, or no majority of them agrees.",
            value=self.subject_id,
            remedy="Send samples of one person, without the one that is spoilt; a key with the scope admin may send "
            "force=true.",
        )


@dataclass
class _Look:
    """A look for others who may be the same person, at a reference that is stored or about to be."""

    identifier: Identifier
    follower: Follower
    tenant: str
    model: Model
    galleries: ServedGalleries
    found: SimilarSubjects | None = None

    def at(self, reference: Reference) -> SimilarSubjects:
        """What was found, or is now."""
        if self.found is None:
            gallery = self.galleries.of(self.tenant, self.model)  # now: galleries that are filled anew are others
            self.found = self.identifier.similar_subjects(self.tenant, self.model, gallery, reference)
        return self.found

    def require_nobody(self, reference: Reference) -> None:
        """Refuse a reference that may be another subject's person.

        Raises:
            LikelyDuplicateError: it may.
            GalleryStaleError: the gallery lacks who was enrolled until now.
        """
        self.found = None  # of a transaction that had to be repeated
        if not self.follower.catch_up():
            raise stale()
        similar, near = self.at(reference)
        if similar:
            raise LikelyDuplicateError(
                "The samples are probably of somebody who is enrolled already.",
                remedy="Add them to that subject, or send on_duplicate=report where the service lets you.",
                similar=[one.subject_id for one in similar],
                near=near,
            )


def _described(once: Once, model: Model, read: ReadFiles, enrolment: Enrolment) -> bytes:
    return once.answer(_result(model, read, enrolment, None, None))


def _result(
    model: Model, read: ReadFiles, enrolment: Enrolment, similar: SimilarSubjects | None, position: Position | None
) -> Enrolled:
    findings = tuple(one for place, one in enumerate(read.seen.findings) if place not in enrolment.refused)
    refused = {read.files.numbers[place]: error for place, error in enrolment.refused.items()}
    skipped = tuple(Skipped(number, error) for number, error in sorted({**read.skipped, **refused}.items()))
    full_dim = model.manifest.output(EmbeddingOutput).full_dim
    stored = (model.manifest, full_dim, enrolment.template_ids, enrolment.reference.template_count)
    found, near = (None, ()) if similar is None else similar
    return Enrolled(*stored, found, findings, near, skipped, position)
