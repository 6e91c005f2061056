"""POST /v1/verify, /v1/compare and /v1/identify."""

from collections.abc import Mapping, Sequence
from typing import Annotated

from fastapi import Depends, Response

from matchka.api.answers.decisions import (
    CandidateAnswer,
    FusedVerifyAnswer,
    IdentifiedFaceAnswer,
    IdentifyAnswer,
    VerifyAnswer,
)
from matchka.api.challenge_answers import head_turn_of, phrase_of
from matchka.api.dependencies import Caller, CallerDep
from matchka.api.findings import face_answer, faces_answer
from matchka.api.forms import CompareForm, IdentifyForm, VerifyForm, body_schema, probes_of, reads
from matchka.api.position import ANSWERED, PositionDep, headers_of, text_of
from matchka.api.routing import GuardedRouter
from matchka.api.tries import hide_waiting
from matchka.bundles.fusion_file import JOINT
from matchka.errors import InvalidFieldError
from matchka.store.feed.snapshot import Position
from matchka.tasks.challenges.kind import Attempt, Judged
from matchka.tasks.embedding.results import FusedVerified, Identified, Verified

router = GuardedRouter(tags=["decisions"])


@router.post("/v1/verify", openapi_extra=body_schema(VerifyForm), summary="Is this the subject?")
async def verify(
    caller: CallerDep, form: Annotated[VerifyForm, Depends(reads(VerifyForm))]
) -> VerifyAnswer | FusedVerifyAnswer:
    """Compare a probe with the reference of the subject it claims to be, and with what a challenge asked for."""
    probes = probes_of(form)
    again = 0 if form.challenge_id is None else 1  # what is compared is also read for the challenge
    judged, result = await caller.run(
        lambda: _verified(caller, form, probes), samples=sum(len(files) for files in probes.values()) + again
    )
    if isinstance(result, Verified):
        return _answer(caller, "verify", result, judged)
    return _fused_answer(caller, result, judged)


@router.post("/v1/compare", openapi_extra=body_schema(CompareForm), summary="Are these two the same?")
async def compare(caller: CallerDep, form: Annotated[CompareForm, Depends(reads(CompareForm))]) -> VerifyAnswer:
    """Compare two samples; nothing is stored."""
    result = await caller.run(
        lambda: caller.verifier.compare(form.model, form.file_a, form.file_b, form.dim, form.max_fmr, form.options),
        samples=2,
    )
    return _answer(caller, "compare", result)


@router.post(
    "/v1/identify",
    openapi_extra=body_schema(IdentifyForm),
    responses={200: {"headers": ANSWERED}},
    summary="Who is this, if anybody known?",
)
async def identify(
    caller: CallerDep,
    sent: PositionDep,
    response: Response,
    form: Annotated[IdentifyForm, Depends(reads(IdentifyForm))],
) -> IdentifyAnswer:
    """Search the gallery; `match` is null where no candidate reaches the threshold."""
    found, position = await caller.run(lambda: _identified(caller, form, sent))
    response.headers.update(headers_of(position))
    found = await hide_waiting(caller, found)
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
        condition=first.condition,
        position=text_of(position),
    )


def _identified(caller: Caller, form: IdentifyForm, sent: Position | None) -> tuple[list[Identified], Position]:
    """The decisions, and what they show at least: all that the caller has seen."""
    if sent is not None:
        caller.verifier.wait_for(sent)
    position = caller.verifier.position
    found = caller.verifier.identify_each(
        caller.tenant, form.model, form.file, form.top_k, form.dim, form.max_fpir, form.options
    )
    return found, position


def _verified(
    caller: Caller, form: VerifyForm, given: Mapping[str, Sequence[bytes]]
) -> tuple[Judged | None, Verified | FusedVerified]:
    """The decisions on the challenge, which is used up before a sample is looked at, and on the person."""
    judged = _judged(caller, form, given)
    probes = {name: files[0] for name, files in given.items()} if judged is None else dict(judged.probes)
    verifier, tenant, subject_id = caller.verifier, caller.tenant, form.subject_id
    if form.model in probes:
        probe = probes[form.model]
        return judged, verifier.verify(tenant, form.model, subject_id, probe, form.dim, form.max_fmr, form.options)
    return judged, verifier.verify_jointly(tenant, form.model, subject_id, probes, form.max_fmr, form.part_floor)


def _judged(caller: Caller, form: VerifyForm, given: Mapping[str, Sequence[bytes]]) -> Judged | None:
    if form.challenge_id is None:
        if "max_far" in form.model_fields_set:
            raise InvalidFieldError(
                "max_far belongs to challenge_id.", value=form.max_far, remedy="Leave it out, or send a challenge_id."
            )
        return None
    caller.verifier.require_verifiable(form.model, form.dim, form.options)  # it would be used up for nothing
    attempt = Attempt(given, form.max_fmr, form.max_far, form.options)
    return caller.challenger.judge(caller.tenant, form.subject_id, form.challenge_id, attempt)


def _identified_face(result: Identified) -> IdentifiedFaceAnswer:
    return IdentifiedFaceAnswer(
        face=face_answer(result.finding),
        condition=result.condition,
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


def _answer(caller: Caller, call: str, result: Verified, judged: Judged | None = None) -> VerifyAnswer:
    answer = _verify_answer(result, judged)
    _count(caller, call, result.manifest.name, answer.match)
    if call == "verify":
        _note_similarity(caller, result)
    return answer


def _verify_answer(result: Verified, judged: Judged | None = None) -> VerifyAnswer:
    return VerifyAnswer(
        match=result.decision.match and _passes(judged),
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
        conditions=list(result.conditions) if any(result.conditions) else None,
        phrase=phrase_of(judged),
        head_turn=head_turn_of(judged),
    )


def _fused_answer(caller: Caller, result: FusedVerified, judged: Judged | None) -> FusedVerifyAnswer:
    fused, match = result.fused, result.match and _passes(judged)
    _count(caller, "verify", result.name, match)
    for part in result.parts.values():
        _note_similarity(caller, part)
    return FusedVerifyAnswer(
        match=match,
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
        phrase=phrase_of(judged),
        head_turn=head_turn_of(judged),
    )


def _passes(judged: Judged | None) -> bool:
    """Person and challenge are two conditions, never one sum: a good voice must not make up for a wrong phrase."""
    return judged is None or judged.done.match


def _note_similarity(caller: Caller, result: Verified) -> None:
    manifest, decision = result.manifest, result.decision
    labels = (manifest.name, manifest.version, str(decision.match).lower())
    caller.state.telemetry.similarity.labels(*labels).observe(decision.similarity)


def _count(caller: Caller, call: str, model: str, match: bool) -> None:
    caller.state.telemetry.decisions.labels(caller.tenant, call, model, str(match).lower()).inc()
