"""The application: middleware, routes, and what it holds from start to end."""

import asyncio
import gc
import logging
import math
import os
import signal
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, closing, contextmanager
from datetime import timedelta
from importlib.metadata import version
from typing import Final

from fastapi import Depends, FastAPI
from fastapi.telemetry import TelemetryConfig
from starlette.middleware.cors import CORSMiddleware

from matchka.api.dependencies import ServiceState, authorised
from matchka.api.error_handlers import add_error_handlers, add_framework_error_handlers
from matchka.api.guards.audit_trail import AuditTrail
from matchka.api.guards.auth import KeyGate
from matchka.api.guards.failed_keys import FailedKeys
from matchka.api.guards.hosts import HostGuard
from matchka.api.guards.key_ring import KeyRing, following
from matchka.api.guards.middleware import MIB, BodyLimit, InFlightLimit, Refusals
from matchka.api.guards.rates import RequestRates
from matchka.api.idempotency import HEADER as IDEMPOTENCY_HEADER
from matchka.api.idempotency import REPLAYED
from matchka.api.location import LOCATION_HEADER
from matchka.api.openapi import DescribedApi, operation_id
from matchka.api.position import POSITION_HEADER
from matchka.api.routes import (
    audit,
    challenges,
    classes,
    decisions,
    docs,
    embeddings,
    health,
    keys,
    models,
    page,
    parameters,
    speech,
    subjects,
)
from matchka.api.telemetry import RequestTimer, Telemetry
from matchka.api.tracing.request_ids import REQUEST_ID, RequestIds
from matchka.api.tracing.traces import opened_traces
from matchka.bundles.bundle import Bundle
from matchka.bundles.fusion_file import Fusion, read_fusions, require_learned_with
from matchka.bundles.repository import read_bundles
from matchka.bundles.signature import TrustedKeys
from matchka.errors import MatchkaError, VaultLockedError
from matchka.gallery.backends import opened_backend
from matchka.inference.model import open_model
from matchka.runtime.data_dir import owned_data_dir
from matchka.runtime.fairness.shares import most_held
from matchka.runtime.fairness.turns import Turns
from matchka.runtime.load_shedding import LoadShedder
from matchka.runtime.processes.siblings import NoSiblings, Siblings
from matchka.settings import Settings
from matchka.store.attempts import AttemptRules
from matchka.store.audit.writer import writing_audit
from matchka.store.challenges import ChallengeLimits
from matchka.store.database import Limits
from matchka.store.database_errors import as_matchka_error
from matchka.store.engine import file_of
from matchka.store.health import DatabaseHealth
from matchka.store.sqlite.staging import remove_unfinished_restores, restored_file
from matchka.store.store import opened_store
from matchka.store.subject_hash import read_hasher
from matchka.store.vault.open_vault import VaultPlan, opened_vault
from matchka.tasks.challenges.challenger import Challenger
from matchka.tasks.challenges.head_turn import HeadTurnChallenge
from matchka.tasks.challenges.kind import ChallengeKind
from matchka.tasks.challenges.phrase import PhraseChallenge
from matchka.tasks.embedding.expiry import ExpirySweeper, Kept
from matchka.tasks.embedding.following.follower import FollowerRules
from matchka.tasks.embedding.verifier import Verifier
from matchka.tasks.speech.speech import Speech

ALWAYS_TAKEN: Final = 64  # requests in flight that the interface promises to take by default, however slow they are
LOAD_SHEDDING_SHARE: Final = 0.5  # of the time to an answer: what is foretold may be wrong by a factor of two
# The framework's own telemetry, which an environment variable or any library that sets a global provider switches on,
# would send paths with subject ids and the words of exceptions (docs/decisions/185)
NO_TELEMETRY: Final[TelemetryConfig] = {"tracing": False, "metrics": False, "logs": False, "auto_configure": False}
LOGGER: Final = logging.getLogger("matchka")


def create_app(
    settings: Settings,
    verifier: Verifier | None = None,
    telemetry: Telemetry | None = None,
    siblings: Siblings | None = None,
) -> FastAPI:
    """Build the service.

    Args:
        settings: everything that can be configured.
        verifier: an opened one (see opened_verifier) that the caller closes; opened at start-up where none is given.
            Its models are warmed and its galleries filled in the background, until which /readyz answers 503.
        telemetry: that of the verifier, where there is one.
        siblings: the other processes of the service; none by default.
    """
    telemetry, siblings = telemetry or Telemetry(), siblings or NoSiblings()
    ring = KeyRing(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            opened = verifier or stack.enter_context(opened_verifier(settings, telemetry))
            app.state.service.traces = stack.enter_context(opened_traces(settings.traces_url))
            stack.enter_context(following(ring, opened.keys))
            health = stack.enter_context(closing(DatabaseHealth(opened.databases)))
            app.state.service.database_health = health
            checkpoint = settings.audit_checkpoint if siblings.is_first else None  # one file has one writer
            writing = writing_audit(opened.audit, checkpoint, settings.audit.days)
            app.state.service.audit = writer = stack.enter_context(writing)
            if writer is not None:
                telemetry.watch_audit(writer.counts)
            kept = Kept(
                deletions=timedelta(days=settings.deletion_log_days),
                changes=timedelta(hours=settings.feed.kept_hours),
                answers=timedelta(hours=settings.idempotency_hours),
            )
            sweeper = ExpirySweeper(opened, kept)
            stack.callback(sweeper.close)
            loading = asyncio.create_task(_load(app.state.service, opened, settings, sweeper))
            try:
                yield
            finally:
                await loading
                app.state.service.workers.shutdown()

    app = DescribedApi(
        title="matchka",
        summary="Voice and face verification at a selectable Matryoshka dimension.",
        version=version("matchka"),
        lifespan=lifespan,
        openapi_url=None,  # routes/docs.py has the document and the page
        generate_unique_id_function=operation_id,
        redirect_slashes=False,  # a redirect would go wherever the caller's Host says
        telemetry=NO_TELEMETRY,
    )
    app.state.settings = settings
    # one for every request that is let in: most wait for their turn or a batch, and a queue here would know no accounts
    most_requests = math.ceil(most_held(settings.max_in_flight))
    workers = ThreadPoolExecutor(most_requests, thread_name_prefix="matchka")
    load_shedder = LoadShedder(LOAD_SHEDDING_SHARE * settings.request_timeout_s, always_taken=ALWAYS_TAKEN)
    rules = AttemptRules(settings.failed_tries_per_hour, settings.longest_lockout_s)
    required = frozenset(settings.enrolment_requires)
    refuses = settings.on_duplicate == "refuse"
    app.state.service = ServiceState(
        ring, workers, settings.request_timeout_s, load_shedder, telemetry, required, rules, refuses, siblings=siblings
    )
    telemetry.watch_draining(lambda: app.state.service.drain.is_draining)
    for part in (embeddings, classes, parameters, decisions, challenges, speech, subjects, models, keys, audit, health):
        app.include_router(part.router)
    if settings.page:
        app.include_router(page.router)
    if settings.docs != "off":
        app.include_router(docs.router, dependencies=[Depends(authorised)] if settings.docs == "key" else [])
    # The last one added is the first one entered: ids, timing, who asks, how many are in flight, the size of the body.
    app.add_middleware(
        BodyLimit,
        max_body_mib=settings.max_body_mib,
        max_bodies_mib=settings.max_bodies_mib,
        gauge=telemetry.in_flight_body_bytes,
    )
    app.add_middleware(
        InFlightLimit,
        max_in_flight=settings.max_in_flight,
        load_shedder=load_shedder,
        gauge=telemetry.in_flight_requests,
    )
    telemetry.state_limits(settings.max_in_flight, settings.max_bodies_mib * MIB)
    _add_guards(app, settings, ring, siblings)
    app.add_middleware(AuditTrail, writer=lambda: app.state.service.audit)
    app.add_middleware(RequestTimer, telemetry=telemetry)
    app.add_middleware(RequestIds, traces=lambda: app.state.service.traces)
    add_error_handlers(app)
    add_framework_error_handlers(app)
    return app


def create_health_app(settings: Settings, state: ServiceState) -> FastAPI:
    """Build what a second listener serves: /healthz, /readyz and /metrics of a service that create_app built.

    Args:
        settings: as of that service.
        state: that service's own.
    """
    app = FastAPI(openapi_url=None, redirect_slashes=False, telemetry=NO_TELEMETRY)
    app.state.service = state
    app.include_router(health.router)
    _add_guards(app, settings, state.keys, state.siblings)
    app.add_middleware(RequestIds)
    add_error_handlers(app)
    return app


def _add_guards(app: FastAPI, settings: Settings, ring: KeyRing, siblings: Siblings) -> None:
    """Look at who asks; what is refused here or further in holds nothing while it is answered."""
    failed = FailedKeys(dues=siblings.refused_networks)
    rates = RequestRates(moments=siblings.request_rates)
    app.add_middleware(KeyGate, keys=ring, failed=failed, guards_docs=settings.docs == "key", rates=rates)
    app.add_middleware(HostGuard, is_keyless=lambda: ring.is_keyless)
    app.add_middleware(Refusals, max_body_mib=settings.max_body_mib)
    if settings.allowed_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.allowed_origins,
            allow_methods=["GET", "POST", "PATCH", "DELETE"],
            allow_headers=["Authorization", "Content-Type", IDEMPOTENCY_HEADER, POSITION_HEADER, REQUEST_ID],
            expose_headers=[LOCATION_HEADER, POSITION_HEADER, REQUEST_ID, *REPLAYED],
        )


@contextmanager
def opened_verifier(
    settings: Settings, telemetry: Telemetry | None = None, siblings: Siblings | None = None
) -> Iterator[Verifier]:
    """Check and open all that the service needs; closed at the end of the block.

    Args:
        settings: as of the application.
        telemetry: told what its parts do; one that nobody reads by default.
        siblings: the other processes of the service, whose parent owns the data folder; none by default.

    Raises:
        BundleError: a bundle does not check out, or lacks a signature that it needs.
        SettingsError: a trusted key is none.
        DataDirInUseError: another process owns the data folder.
        StoreError: the database cannot be opened.
        GalleryUnavailableError: the galleries' server does not answer.
    """
    telemetry = telemetry or Telemetry()
    trusted = TrustedKeys.parse(settings.trusted_bundle_keys)
    bundles = read_bundles(settings.models_dir, settings.models, trusted)
    fusions = _fusions_of(bundles, settings, trusted)
    turns = Turns(settings.cores)
    with ExitStack() as stack:
        models = []
        for bundle in bundles:
            models.append(open_model(bundle, settings, turns, telemetry.stages))
            stack.callback(models[-1].close)
        if siblings is None or siblings.is_alone:
            stack.enter_context(owned_data_dir(settings.data_dir))
        remove_unfinished_restores(restored_file(settings))
        limits = Limits.of(settings.database)
        vault = stack.enter_context(opened_vault(VaultPlan.of(settings)))
        is_alone = settings.subject_hash_key_file is not None or file_of(settings.effective_database_url) is not None
        hasher = None if vault.is_locked else read_hasher(vault, settings.subject_hash_key, is_alone=is_alone)
        opened = opened_store(
            settings.effective_database_url, vault, limits=limits, hasher=hasher, is_audited=settings.audit.enabled
        )
        store = stack.enter_context(opened)
        telemetry.watch_erasures(lambda: store.erasures_waiting)
        telemetry.watch_pools(store.pools)
        telemetry.watch_disk(settings.data_dir)
        telemetry.state_bundles(bundle.manifest for bundle in bundles)
        telemetry.watch_batches(lambda: {model.label: model.batcher.counts() for model in models if model.batcher})
        shared = None if siblings is None else siblings.gallery_files
        backend = opened_backend(settings, is_encrypted=vault.is_sealing, shared=shared)
        galleries = stack.enter_context(backend)
        feed = settings.feed
        rules = FollowerRules(feed.poll_ms / 1000, feed.wait_s, feed.stale_s)
        verifier = Verifier(models, store, fusions, galleries, rules)
        stack.callback(verifier.close)
        telemetry.watch_following(lambda: verifier.following)
        yield verifier


def _fusions_of(bundles: list[Bundle], settings: Settings, trusted: TrustedKeys) -> list[Fusion]:
    """The fusions of exactly the versions that are served; weights learned on others would not hold.

    Raises: BundleError: one cannot be read, lacks a signature that it needs, or was learned with other measurements.
    """
    models = {(bundle.manifest.name, bundle.manifest.version): bundle.manifest for bundle in bundles}
    fitting = []
    for folder, fusion in read_fusions(settings.models_dir).items():
        if settings.models and not fusion.models.keys() <= set(settings.models):
            continue  # a part of it is left out on purpose
        if models.keys() >= fusion.models.items():
            trusted.require_signature(folder, fusion.content_digest)
            require_learned_with(fusion, {name: models[name, version] for name, version in fusion.models.items()})
            fitting.append(fusion)
        else:
            LOGGER.warning("the fusion %s was learned with %s and is not served", fusion.name, fusion.models)
    return fitting


async def _load(state: ServiceState, verifier: Verifier, settings: Settings, sweeper: ExpirySweeper) -> None:
    """Warm and fill off the event loop; a service that cannot load stops itself rather than stay half alive."""
    try:
        await asyncio.get_running_loop().run_in_executor(state.workers, verifier.load)
    except Exception as error:  # whatever it is, the process ends and says so
        known = as_matchka_error(error) or error
        if isinstance(known, VaultLockedError):  # to end would not mend it, and whoever starts it would do so for ever
            LOGGER.critical("The service serves nothing: %s", known)
            # the log alone names the key's place: anybody may ask /readyz
            state.refusal = VaultLockedError(known.detail, remedy=known.remedy)
            state.siblings.note_loaded()
            return
        if isinstance(known, MatchkaError):
            LOGGER.critical("The service cannot load and stops: %s", known)
        else:
            LOGGER.critical("The service cannot load and stops.", exc_info=True)
        state.has_failed = True
        os.kill(os.getpid(), signal.SIGTERM)
        return
    gc.collect()
    gc.freeze()  # what was loaded stays: no later collection has to walk through it
    state.telemetry.watch_galleries(verifier.gallery_sizes, verifier.gallery_searches)
    state.speech = Speech(verifier.models)
    state.challenger = _challenger_of(verifier, settings)
    state.verifier = verifier
    state.drain.grace_s = settings.drain_s  # before, nobody was told that it is ready
    state.siblings.note_loaded()
    state.telemetry.ready.set(1)
    if state.siblings.is_first:
        sweeper.start()
    LOGGER.info("ready: %s", ", ".join(f"{m.name} {m.version}" for m in verifier.manifests))


def _challenger_of(verifier: Verifier, settings: Settings) -> Challenger:
    """With every kind of challenge that the settings offer."""
    kinds: list[ChallengeKind] = [PhraseChallenge(verifier.models, settings.challenge_model)]
    if settings.head_turn:
        kinds.append(HeadTurnChallenge(verifier.models))
    limits = ChallengeLimits(settings.challenge_lifetime_s, settings.open_challenges, settings.challenges_per_hour)
    return Challenger(kinds, verifier.challenges, limits)
