"""POST /v1/verify, /v1/compare and /v1/identify."""

from typing import Annotated

from fastapi import APIRouter, Depends

from matchka.api.dependencies import Caller, CallerDep
from matchka.api.findings import face_answer, faces_answer
from matchka.api.forms import CompareForm, IdentifyForm, VerifyForm, body_schema, parts_of, reads
from matchka.api.schemas import (
    CandidateAnswer,
    FusedVerifyAnswer,
    IdentifiedFaceAnswer,
    IdentifyAnswer,
    VerifyAnswer,
)
from matchka.bundles.fusion_file import JOINT
from matchka.tasks.embedding.results import FusedVerified, Identified, Verified

router = APIRouter()


@router.post("/v1/verify", openapi_extra=body_schema(VerifyForm), summary="Is this the subject?")
async def verify(
    caller: CallerDep, form: Annotated[VerifyForm, Depends(reads(VerifyForm))]
) -> VerifyAnswer | FusedVerifyAnswer:
    """Compare a probe with the reference of the subject it claims to be."""
    samples = parts_of(form)
    if samples is None:
        probe = form.file or b""
        result = await caller.run(
            lambda: caller.verifier.verify(
                caller.tenant, form.model, form.subject_id, probe, form.dim, form.max_fmr, form.options
            )
        )
        return _answer(caller, "verify", result)
    fused = await caller.run(
        lambda: caller.verifier.verify_jointly(
            caller.tenant, form.model, form.subject_id, samples, form.max_fmr, form.part_floor
        ),
        samples=len(samples),
    )
    return _fused_answer(caller, fused)


@router.post("/v1/compare", openapi_extra=body_schema(CompareForm), summary="Are these two the same?")
async def compare(caller: CallerDep, form: Annotated[CompareForm, Depends(reads(CompareForm))]) -> VerifyAnswer:
    """Compare two samples; nothing is stored."""
    result = await caller.run(
        lambda: caller.verifier.compare(form.model, form.file_a, form.file_b, form.dim, form.max_fmr, form.options),
        samples=2,
    )
    return _answer(caller, "compare", result)


@router.post("/v1/identify", openapi_extra=body_schema(IdentifyForm), summary="Who is this, if anybody known?")
async def identify(caller: CallerDep, form: Annotated[IdentifyForm, Depends(reads(IdentifyForm))]) -> IdentifyAnswer:
    """Search the gallery; `match` is null where no candidate reaches the threshold."""
    found = await caller.run(
        lambda: caller.verifier.identify_each(
            caller.tenant, form.model, form.file, form.top_k, form.dim, form.max_fpir, form.options
        )
    )
    for result in found:
        _count(caller, "identify", result.manifest.name, result.match is not None)
    first = found[0]
    return IdentifyAnswer(
        match=first.match,
        candidates=_candidates(first),
        threshold=first.threshold.value,
        threshold_measured=first.threshold.measured,
        max_fpir=first.max_fpir,
        dim=first.dim,
        gallery_size=first.gallery_size,
        model=first.manifest.name,
        version=first.manifest.version,
        face=face_answer(first.finding),
        faces=[_identified_face(result) for result in found] if form.face == "all" else None,
    )


def _identified_face(result: Identified) -> IdentifiedFaceAnswer:
    return IdentifiedFaceAnswer(
        face=face_answer(result.finding),
        match=result.match,
        candidates=_candidates(result),
        threshold=result.threshold.value,
        threshold_measured=result.threshold.measured,
    )


def _candidates(result: Identified) -> list[CandidateAnswer]:
    return [
        CandidateAnswer(
            subject_id=candidate.subject_id,
            similarity=candidate.similarity,
            cosine=candidate.cosine,
            version=candidate.manifest.version,
            dim=candidate.dim,
            threshold=candidate.threshold.value,
        )
        for candidate in result.candidates
    ]


def _answer(caller: Caller, call: str, result: Verified) -> VerifyAnswer:
    _count(caller, call, result.manifest.name, result.decision.match)
    return _verify_answer(result)


def _verify_answer(result: Verified) -> VerifyAnswer:
    return VerifyAnswer(
        match=result.decision.match,
        similarity=result.decision.similarity,
        threshold=result.decision.threshold.value,
        threshold_measured=result.decision.threshold.measured,
        max_fmr=result.max_fmr,
        probability=result.decision.probability,
        cosine=result.cosine,
        dim=result.dim,
        model=result.manifest.name,
        version=result.manifest.version,
        faces=faces_answer(result.findings),
    )


def _fused_answer(caller: Caller, result: FusedVerified) -> FusedVerifyAnswer:
    fused = result.fused
    _count(caller, "verify", result.name, result.match)
    return FusedVerifyAnswer(
        match=result.match,
        similarity=fused.similarity,
        threshold=fused.threshold.value,
        threshold_measured=fused.threshold.measured,
        max_fmr=result.max_fmr,
        require=result.require,
        max_fmr_each=result.max_fmr_each,
        probability=fused.probability,
        dim=0,
        model=result.name,
        version=JOINT.join(part.manifest.version for part in result.parts.values()),
        parts={name: _verify_answer(part) for name, part in result.parts.items()},
    )


def _count(caller: Caller, call: str, model: str, match: bool) -> None:
    caller.state.telemetry.decisions.labels(call, model, str(match).lower()).inc()
