"""The Verifier: enrol, verify, identify. Its calls block; routes run them on worker threads."""

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final

from sqlalchemy import Engine

from matchka.bundles.fusion_file import JOINT, Fusion
from matchka.bundles.manifest import Manifest
from matchka.bundles.outputs.embedding import EmbeddingOutput
from matchka.errors import OtherVersionError, UnknownModelError
from matchka.gallery.faiss_cpu.policy import Method
from matchka.gallery.galleries import GalleryBackend
from matchka.inference.model import Model
from matchka.inference.registry import ModelRegistry
from matchka.modalities.modality import Purpose
from matchka.scorers import CountedEmbeddings, counted
from matchka.store.attempts import Attempts
from matchka.store.audit.log import AuditLog
from matchka.store.challenges import Challenges
from matchka.store.enrolment_limits import NO_LIMITS, EnrolmentLimits
from matchka.store.feed.snapshot import Position
from matchka.store.idempotency.answers import RecordedAnswers
from matchka.store.keys.keys import Keys
from matchka.store.records import Reference, Subject, SubjectSummary
from matchka.store.rights.receipt import Receipt
from matchka.store.rights.rights import Rights
from matchka.store.rights.terms import NO_CHANGE, TermsChange
from matchka.store.store import Store
from matchka.tasks.embedding.embedding import embed, embeds, require_dim, require_measured, told
from matchka.tasks.embedding.enrolment import DEFAULT_RULES, Enroller, EnrolmentRules, Once
from matchka.tasks.embedding.following.follower import Follower, FollowerRules, FollowerStatus
from matchka.tasks.embedding.following.galleries import ServedGalleries
from matchka.tasks.embedding.fusion import decide_jointly
from matchka.tasks.embedding.identification import (
    Identifier,
    Search,
    SimilarSubjects,
    counterpart,
    observe_with_version,
)
from matchka.tasks.embedding.results import Embeddings, Enrolled, FusedVerified, Identified, ModelVersion, Verified
from matchka.tasks.embedding.thresholds import Decision, Report, decide, strictest
from matchka.vectors import cosine_similarity, truncate_and_normalise

FOLLOWS: Final = FollowerRules()
NO_OPTIONS: Final[Mapping[str, str]] = MappingProxyType({})  # of how samples are read: by default


class Verifier:
    """Embed, enrol, verify, identify and delete, for any tenant.

    Args:
        models: the served models.
        store: the system of record; the galleries are filled from it by load(), and follow it until close().
        fusions: of served models, in the versions that are served.
        galleries: makes them; in memory, searched on the CPU, by default.
        rules: how closely the galleries follow the store.

    Where a method takes `given`, these are the caller's choices of how samples are read, by the names of the options of
    the model's modality; InvalidFieldError refuses what does not apply.
    """

    def __init__(
        self,
        models: Iterable[Model],
        store: Store,
        fusions: Iterable[Fusion] = (),
        galleries: GalleryBackend | None = None,
        rules: FollowerRules = FOLLOWS,
    ) -> None:
        self._registry = ModelRegistry(models)
        self._fusions = tuple(fusions)
        self._store = store
        self._embedding = ModelRegistry(model for model in self._registry if embeds(model))
        self._galleries = ServedGalleries(self._embedding, store, galleries)
        self._follower = Follower(store.feed, self._galleries, rules)
        self._identifier = Identifier(
            store, lambda: self._follower.state.snapshot, are_shared=self._galleries.is_shared
        )
        self._enroller = Enroller(self._embedding, store, self._galleries, self._follower, self._identifier)

    def load(self) -> None:
        """Warm every model, fill the galleries from the store, and follow it from then on.

        Raises:
            StorageDamagedError: the store does not hold what was written.
            VaultLockedError: what it holds cannot be opened.
        """
        self._store.require_keys()
        # the look for damage keeps one core busy while the other fills
        with ThreadPoolExecutor(1, thread_name_prefix="intact") as beside:
            page_check = beside.submit(self._store.require_sound_pages)
            for model in self._registry:
                model.warm_up()
            self._follower.start()
            page_check.result()

    def close(self) -> None:
        """Follow the store no more."""
        self._follower.close()

    @property
    def following(self) -> FollowerStatus:
        """How closely the galleries follow the store."""
        return self._follower.status

    def require_fresh(self) -> None:
        """Refuse to be ready while the galleries have fallen behind, or cannot be reached.

        Raises:
            GalleryStaleError: they have.
            GalleryUnavailableError: they cannot.
        """
        self._follower.require_fresh()

    @property
    def position(self) -> Position:
        """The state of the store that a search shows, at least.

        Raises: GalleryStaleError: the galleries are not filled yet.
        """
        return self._follower.state.position

    def wait_for(self, position: Position) -> None:
        """Wait until a search shows all that a position names.

        Raises:
            PositionError: it is of another store.
            GalleryStaleError: it takes too long.
        """
        self._follower.wait_for(position)

    @property
    def models(self) -> ModelRegistry:
        """The served models, for calls that store and compare nothing."""
        return self._registry

    @property
    def challenges(self) -> Challenges:
        """What subjects of the same store are asked."""
        return self._store.challenges

    @property
    def keys(self) -> Keys:
        """The API keys in the same store."""
        return self._store.keys

    @property
    def audit(self) -> AuditLog:
        """The audit log of every tenant."""
        return self._store.audit

    @property
    def attempts(self) -> Attempts:
        """What failed of late with each key, in the same store."""
        return self._store.attempts

    @property
    def answers(self) -> RecordedAnswers:
        """What enrolments were answered whose requests may be sent again."""
        return self._store.answers

    @property
    def databases(self) -> tuple[Engine, ...]:
        """Every database that a request may need."""
        return self._store.engines

    @property
    def rights(self) -> Rights:
        """What the subjects of the same store can ask."""
        return self._store.rights

    @property
    def manifests(self) -> list[Manifest]:
        """The manifests of the served models, by name; of one name, the current version first."""
        return [model.manifest for model in self._registry]

    def versions(self, tenant: str) -> list[ModelVersion]:
        """Every served bundle, in the order of `manifests`, and whom it answers for."""
        outdated = self._galleries.subjects_to_reenroll()
        found = []
        for model in self._registry:
            size, gallery_bytes = self._gallery_size(tenant, model)
            is_newest = model in self._embedding.versions(model.manifest.name)[:1]  # of those that embed
            waiting = outdated.get((tenant, model.manifest.name), 0) if is_newest else size
            memory = (model.graph_bytes, gallery_bytes)
            found.append(ModelVersion(model.manifest, model.is_current, size, waiting, *memory, model.graph))
        return found

    def _gallery_size(self, tenant: str, model: Model) -> tuple[int, int]:
        """Subjects of a tenant's gallery and its bytes; a model without embeddings has none."""
        if not embeds(model):
            return 0, 0
        gallery = self._galleries.of(tenant, model)
        return len(gallery), gallery.memory_bytes

    def subjects_compared_with(self, tenant: str, model_name: str) -> int:
        """How many subjects a search of a tenant's galleries of a model goes through."""
        versions = self._embedding.versions(model_name)
        return sum(len(self._galleries.of(tenant, model)) for model in versions)

    def subjects_to_reenroll(self) -> dict[str, int]:
        """Subjects of all tenants without a template of the current version of a model, by model."""
        totals = dict.fromkeys(self._registry.names, 0)
        for (_, model), count in self._galleries.subjects_to_reenroll().items():
            totals[model] += count
        return totals

    def embed(
        self, model_name: str, samples: list[bytes], dim: int | None = None, given: Mapping[str, str] = NO_OPTIONS
    ) -> Embeddings:
        """Embed samples at a trained dim."""
        model, dim, options = self._model_at(model_name, dim, "probe", given)
        seen = embed(model, samples, options)
        is_whole = dim == model.manifest.output(EmbeddingOutput).full_dim  # of unit length already
        vectors = seen.vectors if is_whole else truncate_and_normalise(seen.vectors, dim)
        return Embeddings(model.manifest, dim, vectors, seen.findings, seen.row_counts)

    def enroll(
        self,
        tenant: str,
        model_name: str,
        subject_id: str,
        samples: list[bytes],
        given: Mapping[str, str] = NO_OPTIONS,
        limits: EnrolmentLimits = NO_LIMITS,
        rules: EnrolmentRules = DEFAULT_RULES,
        terms: TermsChange = NO_CHANGE,
        once: Once | None = None,
    ) -> Enrolled:
        """Store templates of the current version; see Enroller.enroll()."""
        model = self._current(model_name)
        return self._enroller.enroll(tenant, model, subject_id, samples, given, limits, rules, terms, once)

    def position_now(self) -> Position | None:
        """What a search shows at least that is sent it; it shows all that was enrolled before."""
        return self._enroller.position_now()

    def similar_subjects(self, tenant: str, model_name: str, subject_id: str) -> SimilarSubjects:
        """Others who may be the same person as a subject; see Enroller.similar_to()."""
        return self._enroller.similar_to(tenant, self._current(model_name), subject_id)

    def verify(
        self,
        tenant: str,
        model_name: str,
        subject_id: str,
        sample: bytes,
        dim: int | None,
        max_fmr: float,
        given: Mapping[str, str] = NO_OPTIONS,
    ) -> Verified:
        """Compare a probe with the reference of the subject it claims to be, by the newest served version it has."""
        options = self._probe_options(model_name, dim, given)
        model, reference = self._reference(tenant, subject_id, model_name)
        dim = require_dim(model.manifest, dim)
        seen = embed(model, [sample], options)
        with model.times.timed("decide"):
            enrolled = counted(reference.embedding[None, :], [reference.row_count])
            conditions = (reference.condition, seen.conditions[0])
            reports = model.manifest.output(EmbeddingOutput).reports_for(dim, conditions)
            report = strictest(reports, reference.template_count, max_fmr)
            decision, cosine = _decide(model, dim, report, max_fmr, enrolled, seen.one(0), reference.template_count)
        count, conditions_told = reference.template_count, told(model.manifest, seen)
        return Verified(model.manifest, dim, max_fmr, decision, cosine, count, seen.findings, conditions_told)

    def require_verifiable(self, name: str, dim: int | None = None, given: Mapping[str, str] = NO_OPTIONS) -> None:
        """Refuse what verify() or, with the name of a fusion, verify_jointly() refuses whoever and whatever is sent.

        Raises: UnknownModelError, OutputNotAvailableError, UntrainedDimError, InvalidFieldError: as they do.
        """
        if JOINT in name:
            self._fusions_called(name)
        else:
            self._probe_options(name, dim, given)

    def verify_jointly(
        self,
        tenant: str,
        fusion_name: str,
        subject_id: str,
        samples: dict[str, bytes],
        max_fmr: float,
        max_fmr_each: float | None,
    ) -> FusedVerified:
        """Compare one probe of each modality with the references of the subject it claims to be.

        Args:
            tenant: owner of the subject.
            fusion_name: for example `voice+face`.
            subject_id: enrolled with both models.
            samples: model name -> file.
            max_fmr: false match rate that the fused ratio keeps.
            max_fmr_each: false match rate that each part has to keep on its own; None asks nothing of the parts.

        Raises:
            UnknownModelError: there is no such fusion of the served models.
            OtherVersionError: there is none for the versions that the subject has.
        """
        fusions = self._fusions_called(fusion_name)
        part_fmr = max_fmr if max_fmr_each is None else max_fmr_each
        parts = {
            name: self.verify(tenant, name, subject_id, sample, None, part_fmr) for name, sample in samples.items()
        }
        versions = {name: part.manifest.version for name, part in parts.items()}
        fusion = next((fusion for fusion in fusions if fusion.models == versions), None)
        if fusion is None:
            raise OtherVersionError(
                f"No fusion of the versions that the subject was enrolled with is served: {versions}.",
                value=subject_id,
                remedy="Enrol the subject again with each model.",
            )
        # not those of a band: weights and operating points were learned on ratios of the dim's own calibration
        reports = {name: part.manifest.output(EmbeddingOutput).per_dim[str(part.dim)] for name, part in parts.items()}
        # of the reference that was compared: the subject may have been changed since
        counts = {name: part.template_count for name, part in parts.items()}
        similarities = {name: part.decision.similarity for name, part in parts.items()}
        fused = decide_jointly(fusion, reports, similarities, counts, max_fmr)
        return FusedVerified(fusion_name, max_fmr, max_fmr_each, fused, parts)

    def compare(
        self,
        model_name: str,
        sample_a: bytes,
        sample_b: bytes,
        dim: int | None,
        max_fmr: float,
        given: Mapping[str, str] = NO_OPTIONS,
    ) -> Verified:
        """Compare two samples; nothing is stored.

        Raises: MatchkaError: a sample is not usable, or neither is good enough to be compared with the other.
        """
        model, dim, options = self._model_at(model_name, dim, "probe", given)
        seen = embed(model, [sample_a, sample_b], options)
        require_measured(model, seen.conditions)
        report = strictest(model.manifest.output(EmbeddingOutput).reports_for(dim, seen.conditions), 1, max_fmr)
        decision, cosine = _decide(model, dim, report, max_fmr, seen.one(0), seen.one(1), 1)
        conditions = told(model.manifest, seen)
        return Verified(model.manifest, dim, max_fmr, decision, cosine, 1, seen.findings, conditions)

    def identify(
        self, tenant: str, model_name: str, sample: bytes, top_k: int, dim: int | None, max_fpir: float
    ) -> Identified:
        """identify_each() of a probe that is read as by default."""
        return self.identify_each(tenant, model_name, sample, top_k, dim, max_fpir)[0]

    def identify_each(
        self,
        tenant: str,
        model_name: str,
        sample: bytes,
        top_k: int,
        dim: int | None,
        max_fpir: float,
        given: Mapping[str, str] = NO_OPTIONS,
    ) -> list[Identified]:
        """Search a probe among the tenant's subjects; the threshold follows from max_fpir and their number.

        While subjects of older versions are waiting to enrol again, the probe is embedded by those versions as well,
        and searched among them.

        Args:
            tenant: owner of the galleries.
            model_name: of the probe's kind.
            sample: a whole file.
            top_k: at most this many candidates.
            dim: a trained dim; full_dim where None.
            max_fpir: FPIR: share of impostors that may be given a name, in (0, 1).
            given: how the sample is to be read, by the names of its modality's options.

        Returns: one decision for each observation that the reader makes of the sample, at least one.
        """
        model, model_dim, options = self._model_at(model_name, dim, "probe", given)
        older = [
            (other, require_dim(other.manifest, dim))
            for other in self._embedding.versions(model_name)[1:]
            if len(self._galleries.of(tenant, other))
        ]
        seen = embed(model, [sample], options)
        seen_by_older = [(other, other_dim, observe_with_version(other, sample, options)) for other, other_dim in older]
        found = []
        for number, finding in enumerate(seen.findings):
            own = self._galleries.of(tenant, model)
            searches = [Search(model, model_dim, own, seen.one(number), seen.conditions[number])]
            for other, other_dim, again in seen_by_older:
                place = None if again is None else counterpart(again.findings, finding, number)
                if again is not None and place is not None:
                    gallery = self._galleries.of(tenant, other)
                    searches.append(Search(other, other_dim, gallery, again.one(place), again.conditions[place]))
            with model.times.timed("search"):  # and the store's rows of what was found
                found.append(self._identifier.identify(tenant, searches, finding, top_k, max_fpir))
        return found

    def subject(self, tenant: str, subject_id: str) -> Subject:
        """One subject with its templates."""
        return self._store.subject(tenant, subject_id)

    def subjects(self, tenant: str, limit: int, after: str | None) -> list[SubjectSummary]:
        """A page of subjects in the order of their ids."""
        return self._store.subjects(tenant, limit, after)

    def delete_subject(self, tenant: str, subject_id: str) -> Position | None:
        """Delete a subject with the templates of every model; it is out of every answer when this returns.

        Returns: where the store is then; None where it could not be asked.
        """
        self._store.delete_subject(tenant, subject_id, wait_s=0.0)
        return self._after_deletion()[0]

    def receipt_of_deletion(self, tenant: str, subject_id: str) -> tuple[Receipt, Position | None]:
        """Delete a subject as delete_subject() does. Returns: the signed receipt, and where the store is then."""
        erasure = self._store.delete_subject(tenant, subject_id, wait_s=0.0)
        position, is_erased = self._after_deletion()
        return self.rights.receipt(erasure, is_erased), position

    def delete_template(self, tenant: str, template_id: str) -> Position | None:
        """Delete one template; the subject's reference is the mean of those that remain when this returns.

        Returns: where the store is then; None where it could not be asked.
        """
        self._store.delete_template(tenant, template_id, wait_s=0.0)
        return self._after_deletion()[0]

    def _after_deletion(self) -> tuple[Position | None, bool]:
        """Where the store is, and whether nothing of what was deleted is left in write-ahead logs."""
        return self._follower.position_now(), self._store.wait_until_erased()

    def delete_expired(self, most: int) -> int:
        """Delete some of the subjects whose time is over, of any tenant, as delete_subject() does; how many it were."""
        erased = self._store.delete_expired(most)
        if erased:
            self._after_deletion()
        return len(erased)

    def forget_old_deletions(self, older_than: timedelta, most: int) -> int:
        """Take the oldest deletions off the deletion log; how many it were."""
        return self.rights.forget_old_deletions(older_than, most)

    def forget_old_changes(self, older_than: timedelta, most: int) -> int:
        """Take the oldest changes off the change feed; how many it were."""
        return self.rights.forget_old_changes(older_than, most)

    def forget_old_answers(self, older_than: timedelta, most: int) -> int:
        """Forget the oldest answers that are kept for requests that are sent again; how many it were."""
        return self.answers.forget_old(older_than, most)

    @property
    def database_time(self) -> datetime:
        """The time by which subjects expire."""
        return self.rights.time

    def gallery_sizes(self) -> dict[tuple[str, str], int]:
        """Subjects in each gallery, keyed by tenant and model."""
        return self._galleries.sizes()

    def gallery_searches(self) -> dict[tuple[str, str, Method], int]:
        """Searches in each gallery, keyed by tenant, model and the method that was chosen."""
        return self._galleries.searches()

    def _current(self, name: str) -> Model:
        """The current version of a model.

        Raises:
            UnknownModelError: none has the name.
            OutputNotAvailableError: it does not embed.
        """
        model = self._registry.current(name)
        model.manifest.output(EmbeddingOutput)
        return model

    def _probe_options(self, name: str, dim: int | None, given: Mapping[str, str]) -> object:
        """How a probe is read; refuses a dim that no served version has, whoever the subject is."""
        options = self._current(name).options_for("probe", given)
        versions = self._embedding.versions(name)
        if len(versions) == 1:
            require_dim(versions[0].manifest, dim)
        return options

    def _fusions_called(self, name: str) -> list[Fusion]:
        """The fusions of a name. Raises: UnknownModelError: there is none of the served models."""
        fusions = [fusion for fusion in self._fusions if fusion.name == name]
        if not fusions:
            known = sorted({fusion.name for fusion in self._fusions})
            raise UnknownModelError(
                "There is no such fusion of the served models.",
                value=name,
                remedy=f"Known: {', '.join(known) or 'none'}; a fusion holds for one version of each.",
            )
        return fusions

    def _model_at(
        self, name: str, dim: int | None, purpose: Purpose, given: Mapping[str, str]
    ) -> tuple[Model, int, object]:
        model = self._current(name)
        options = model.options_for(purpose, given)
        return model, require_dim(model.manifest, dim), options

    def _reference(self, tenant: str, subject_id: str, name: str) -> tuple[Model, Reference]:
        """A subject's reference, and the model that made it: the newest that is served and that the subject has."""
        *newer, last = self._embedding.versions(name)
        for model in newer:
            with suppress(OtherVersionError), model.times.timed("store"):
                return model, self._store.reference(tenant, subject_id, name, model.manifest.version)
        with last.times.timed("store"):
            return last, self._store.reference(tenant, subject_id, name, last.manifest.version)


def _decide(
    model: Model,
    dim: int,
    report: Report,
    max_fmr: float,
    reference: CountedEmbeddings,
    probe: CountedEmbeddings,
    template_count: int,
) -> tuple[Decision, float]:
    """The decision on the scorer's similarity, and the cosine beside it."""
    similarity = float(model.scorer.similarities(reference, probe, dim)[0, 0])
    cosine = float(cosine_similarity(reference.vectors, probe.vectors, dim)[0, 0])
    return decide(report, similarity, template_count, max_fmr), cosine
