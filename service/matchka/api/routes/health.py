"""GET /healthz, /readyz and /metrics."""

from contextlib import suppress
from typing import Annotated

from fastapi import Depends, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST

from matchka.api.answers.service import HealthAnswer, ReadyAnswer
from matchka.api.dependencies import authorised, service_state
from matchka.api.routing import GuardedRouter
from matchka.errors import MatchkaError
from matchka.store.keys.records import Grant

router = GuardedRouter(tags=["operation"])


@router.get("/healthz", summary="Is the process alive?")
async def healthz() -> HealthAnswer:
    """200 as long as the process answers."""
    return HealthAnswer(status="alive")


@router.get("/readyz", summary="Can it serve?")
async def readyz(request: Request) -> ReadyAnswer:
    """200 when the models are warm and the gallery is loaded; 503 before, or with the reason why that cannot be.

    Also while the gallery does not follow the store, and from when the service is told to stop, while it still answers.

    Where keys are in force, /v1/models tells each tenant its own counts, and this call nobody any.
    """
    state = service_state(request)
    state.drain.require_serving()
    verifier = state.verifier
    if verifier is None:
        raise state.not_ready
    state.require_siblings()
    await state.require_database()
    verifier.require_fresh()
    counts = verifier.subjects_to_reenroll() if state.keys.is_keyless else {}
    return ReadyAnswer(status="ready", subjects_to_reenroll=counts)


@router.get(
    "/metrics",
    summary="Prometheus metrics",
    response_class=Response,
    responses={200: {"content": {CONTENT_TYPE_LATEST: {"schema": {"type": "string"}}}}},
)
async def metrics(request: Request, grant: Annotated[Grant, Depends(authorised)]) -> Response:
    """Counters and histograms in Prometheus' text format; of other tenants nothing, but to who runs the service.

    Those of a service of several processes are told by each of them as those of the whole.
    """
    tenant, state = None if grant.is_operator else grant.tenant, service_state(request)
    with suppress(MatchkaError):  # matchka_database_up says it
        await state.require_database()
    counts = await state.siblings.counts()
    return Response(state.telemetry.exposition(tenant, counts), media_type=CONTENT_TYPE_LATEST)
