"""POST /v1/verify, /v1/compare and /v1/identify."""

from typing import Annotated

from fastapi import APIRouter, Depends

from service.forms import CompareForm, IdentifyForm, VerifyForm, body_schema, reads
from service.pipeline import Verified
from service.routes.context import Caller, CallerDep
from service.schemas import IdentifyAnswer, SubjectSimilarityAnswer, VerifyAnswer

router = APIRouter()


@router.post("/v1/verify", openapi_extra=body_schema(VerifyForm), summary="Is this the subject?")
async def verify(caller: CallerDep, form: Annotated[VerifyForm, Depends(reads(VerifyForm))]) -> VerifyAnswer:
    """Compare a probe with the reference of the subject it claims to be."""
    result = await caller.run(
        lambda: caller.verifier.verify(caller.tenant, form.model, form.subject_id, form.file, form.dim, form.max_fmr)
    )
    return _answer(caller, "verify", result)


@router.post("/v1/compare", openapi_extra=body_schema(CompareForm), summary="Are these two the same?")
async def compare(caller: CallerDep, form: Annotated[CompareForm, Depends(reads(CompareForm))]) -> VerifyAnswer:
    """Compare two samples; nothing is stored."""
    result = await caller.run(
        lambda: caller.verifier.compare(form.model, form.file_a, form.file_b, form.dim, form.max_fmr)
    )
    return _answer(caller, "compare", result)


@router.post("/v1/identify", openapi_extra=body_schema(IdentifyForm), summary="Who is this, if anybody known?")
async def identify(caller: CallerDep, form: Annotated[IdentifyForm, Depends(reads(IdentifyForm))]) -> IdentifyAnswer:
    """Search the gallery; a stranger is answered with `match: null`, whatever the candidates."""
    result = await caller.run(
        lambda: caller.verifier.identify(caller.tenant, form.model, form.file, form.top_k, form.dim, form.max_fpir)
    )
    _count(caller, "identify", result.manifest.name, result.match is not None)
    return IdentifyAnswer(
        match=result.match,
        candidates=[
            SubjectSimilarityAnswer(subject_id=c.subject_id, similarity=c.similarity) for c in result.candidates
        ],
        threshold=result.threshold.value,
        threshold_measured=result.threshold.measured,
        max_fpir=result.max_fpir,
        dim=result.dim,
        gallery_size=result.gallery_size,
        model=result.manifest.name,
        version=result.manifest.version,
    )


def _answer(caller: Caller, call: str, result: Verified) -> VerifyAnswer:
    _count(caller, call, result.manifest.name, result.decision.match)
    return VerifyAnswer(
        match=result.decision.match,
        similarity=result.decision.similarity,
        threshold=result.decision.threshold.value,
        threshold_measured=result.decision.threshold.measured,
        max_fmr=result.max_fmr,
        probability=result.decision.probability,
        dim=result.dim,
        model=result.manifest.name,
        version=result.manifest.version,
    )


def _count(caller: Caller, call: str, model: str, match: bool) -> None:
    caller.state.telemetry.decisions.labels(call, model, str(match).lower()).inc()
