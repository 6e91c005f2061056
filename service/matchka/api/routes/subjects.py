"""POST /v1/enroll, and the subjects and templates it makes."""

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Final

from fastapi import Depends, Query, Response

from matchka.api.answers.enrolment import EnrollAnswer, EnrolledFileAnswer, SkippedFileAnswer, SubjectSimilarityAnswer
from matchka.api.answers.subjects import (
    ReceiptKeyAnswer,
    SubjectAnswer,
    SubjectExportAnswer,
    SubjectsAnswer,
    SubjectSummaryAnswer,
    SubjectTermsAnswer,
    TemplateAnswer,
)
from matchka.api.bodies.json_object import JSON
from matchka.api.dependencies import Caller, CallerDep, caller_with
from matchka.api.findings import faces_answer
from matchka.api.forms import EnrollForm, SubjectForm, body_schema, reads
from matchka.api.idempotency import REPLAYED, REPLAYED_HEADER, IdempotencyKey, named
from matchka.api.location import LOCATION, location_of
from matchka.api.lookalikes import Lookalikes, looking
from matchka.api.position import ANSWERED, POSITION_HEADER, headers_of, text_of
from matchka.api.problems import skipped_answers
from matchka.api.routing import GuardedRouter
from matchka.api.tries import tries_of
from matchka.errors import (
    InvalidFieldError,
    InvalidSubjectIdError,
    LikelyDuplicateError,
    MatchkaError,
    NotEnrolledError,
    OtherVersionError,
)
from matchka.store.idempotency.answers import EnrolmentRepeated
from matchka.store.keys.scopes import Scope, missing_scope
from matchka.store.rights.receipt import Receipt
from matchka.store.subject_id import check_subject_id
from matchka.tasks.embedding.enrolment import EnrolmentRules, Once
from matchka.tasks.embedding.results import Enrolled, SubjectSimilarity

MOST_SIMILAR_SUBJECTS: Final = 5  # near-duplicates that an enrolment reports

router = GuardedRouter(tags=["subjects"])


@router.post(
    "/v1/enroll",
    status_code=201,
    openapi_extra=body_schema(EnrollForm),
    responses={201: {"headers": {**LOCATION, **ANSWERED, **REPLAYED_HEADER}}},
    summary="Enrol samples of a subject",
)
async def enroll(
    caller: CallerDep,
    response: Response,
    key: IdempotencyKey,
    form: Annotated[EnrollForm, Depends(reads(EnrollForm))],
) -> EnrollAnswer:
    """Store one template for each file, all or none unless bad ones are skipped; searchable when this answers."""
    if form.force and not caller.may(Scope.ADMIN):
        raise missing_scope(Scope.ADMIN)
    refuses = form.on_duplicate == "refuse" or (caller.state.refuses_duplicates and not form.force)
    async with looking(caller, form.model, refuses) as lookalikes:
        rules = EnrolmentRules(not form.force, form.on_error == "skip", refuses, lookalikes.tells)
        answer, is_repeated = await caller.run(
            lambda: _enrolled(caller, form, rules, lookalikes, key), samples=len(form.file)
        )
    response.headers.update(location_of("/v1/subjects", form.subject_id))
    response.headers.update({POSITION_HEADER: answer.position} if answer.position else {})
    response.headers.update(REPLAYED if is_repeated else {})
    return answer


def _enrolled(
    caller: Caller, form: EnrollForm, rules: EnrolmentRules, lookalikes: Lookalikes, key: str | None
) -> tuple[EnrollAnswer, bool]:
    """Enrol, and count what that tells: here, because who leaves now may look later what was stored.

    Returns: the answer, and whether it is that of an enrolment that was done before.
    """
    tries = tries_of(caller, form.target, form.model)
    limits = caller.enrolment_limits(form.mode)
    request = named(caller, key, form)
    once = None if request is None else Once(request, _kept_of)
    try:
        enrolled = caller.verifier.enroll(
            caller.tenant, form.model, form.subject_id, form.file, form.options, limits, rules, form.terms, once
        )
    except EnrolmentRepeated as repeated:
        return _answered_before(caller, form, lookalikes, repeated.answer), True
    except LikelyDuplicateError as error:
        raise lookalikes.refusal(error) from error
    except MatchkaError as error:
        if tries is not None and error.failed_tries:
            tries.count_failed(error.failed_tries)
        raise
    failed = sum(one.error.failed_tries for one in enrolled.skipped)
    if tries is not None and failed:
        tries.count_failed(failed)
    similar = lookalikes.told(enrolled.similar_subjects, enrolled.near)
    return _answer(form.subject_id, enrolled).model_copy(update={"similar_subjects": _similar_answer(similar)}), False


def _kept_of(enrolled: Enrolled) -> bytes:
    """What is kept of an answer: nothing of it names a subject, this one or others."""
    return _answer("", enrolled).model_dump_json(exclude={"subject_id", "similar_subjects", "position"}).encode()


def _answered_before(caller: Caller, form: EnrollForm, lookalikes: Lookalikes, kept: bytes) -> EnrollAnswer:
    """The answer of an enrolment that was done before; who may be the same person is looked up as of now.

    The position is that of now, too: what is sent it is shown the enrolment, and perhaps what came later.
    """
    now = {"subject_id": form.subject_id, "similar_subjects": None, "position": text_of(caller.verifier.position_now())}
    before = EnrollAnswer.model_validate({**json.loads(kept), **now})
    if not lookalikes.tells:
        return before
    try:
        found, near = caller.verifier.similar_subjects(caller.tenant, form.model, form.subject_id)
    except (NotEnrolledError, OtherVersionError):  # its templates are deleted, or another version is served by now
        return before
    return before.model_copy(update={"similar_subjects": _similar_answer(lookalikes.told(found, near))})


def _similar_answer(similar: list[SubjectSimilarity] | None) -> list[SubjectSimilarityAnswer] | None:
    if similar is None:
        return None
    return [
        SubjectSimilarityAnswer(subject_id=s.subject_id, similarity=s.similarity, cosine=s.cosine)
        for s in similar[:MOST_SIMILAR_SUBJECTS]
    ]


def _answer(subject_id: str, enrolled: Enrolled) -> EnrollAnswer:
    """What was stored; who is similar is not told here."""
    skipped = skipped_answers({one.file: one.error for one in enrolled.skipped})
    return EnrollAnswer(
        subject_id=subject_id,
        model=enrolled.manifest.name,
        version=enrolled.manifest.version,
        dim=enrolled.dim,
        template_ids=list(enrolled.template_ids),
        template_count=enrolled.template_count,
        similar_subjects=None,
        faces=faces_answer(enrolled.findings),
        skipped=skipped,
        files=_files_answer(enrolled.template_ids, skipped),
        position=text_of(enrolled.position),
    )


def _files_answer(template_ids: Sequence[str], skipped: Sequence[SkippedFileAnswer]) -> list[EnrolledFileAnswer]:
    """What became of each file: those that were not left out have the templates, in their order."""
    codes = {one.file: one.code for one in skipped}
    templates = iter(template_ids)
    return [
        EnrolledFileAnswer(file=file, template_id=None if file in codes else next(templates), code=codes.get(file))
        for file in range(1, len(template_ids) + len(skipped) + 1)
    ]


@router.get("/v1/subjects", summary="List subjects")
async def list_subjects(
    caller: Annotated[Caller, Depends(caller_with("limit", "cursor"))],
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: Annotated[str | None, Query(max_length=4096)] = None,
) -> SubjectsAnswer:
    """A page of subjects in the order of their ids."""
    after = _from_cursor(cursor)
    page = await caller.run(lambda: caller.verifier.subjects(caller.tenant, limit + 1, after))
    more = len(page) > limit
    return SubjectsAnswer(
        subjects=[
            SubjectSummaryAnswer(subject_id=s.subject_id, created_at=s.created_at, template_count=s.template_count)
            for s in page[:limit]
        ],
        next_cursor=_to_cursor(page[limit - 1].subject_id) if more else None,
    )


@router.get("/v1/subjects/{subject_id}", summary="One subject and its templates")
async def get_subject(caller: CallerDep, subject_id: str) -> SubjectAnswer:
    """The subject's templates, without their embeddings."""
    checked = check_subject_id(subject_id)
    subject, terms = await caller.run(
        lambda: (caller.verifier.subject(caller.tenant, checked), caller.verifier.rights.terms(caller.tenant, checked))
    )
    return SubjectAnswer(
        **asdict(terms),
        subject_id=subject.subject_id,
        created_at=subject.created_at,
        template_count=len(subject.templates),
        templates=[
            TemplateAnswer(template_id=t.template_id, model=t.model, version=t.version, created_at=t.created_at)
            for t in subject.templates
        ],
    )


@router.patch("/v1/subjects/{subject_id}", openapi_extra=body_schema(SubjectForm), summary="Change a subject's terms")
async def change_subject(
    caller: CallerDep, subject_id: str, form: Annotated[SubjectForm, Depends(reads(SubjectForm))]
) -> SubjectTermsAnswer:
    """Change consent, purpose, expiry or metadata. A time of expiry is a deletion that is arranged for."""
    checked, required = check_subject_id(subject_id), caller.state.required_terms
    terms = await caller.run(lambda: caller.verifier.rights.change_terms(caller.tenant, checked, form.terms, required))
    return SubjectTermsAnswer(subject_id=checked, **asdict(terms))


@router.delete(
    "/v1/subjects/{subject_id}",
    status_code=204,
    responses={
        200: {"model": Receipt, "description": "Deleted; the signed receipt that was asked for.", "headers": ANSWERED},
        204: {"headers": ANSWERED},
    },
    summary="Delete a subject everywhere",
)
async def delete_subject(
    caller: Annotated[Caller, Depends(caller_with("receipt"))],
    subject_id: str,
    receipt: Annotated[bool, Query(description="Answer 200 with a signed receipt of what was erased.")] = False,
) -> Response:
    """Deletes its templates of every model; it is in no answer that begins after this one."""
    checked = check_subject_id(subject_id)
    if not receipt:
        position = await caller.run(lambda: caller.verifier.delete_subject(caller.tenant, checked))
        return Response(status_code=204, headers=headers_of(position))
    signed, position = await caller.run(lambda: caller.verifier.receipt_of_deletion(caller.tenant, checked))
    return Response(signed.model_dump_json(), media_type=JSON, headers=headers_of(position))


@router.get("/v1/receipt-key", summary="The public key of receipts of deletions")
async def get_receipt_key(caller: CallerDep) -> ReceiptKeyAnswer:
    """Ed25519, base64 of 32 bytes: keep it apart from the receipts that it checks."""
    return ReceiptKeyAnswer(public_key=await caller.run(lambda: caller.verifier.rights.receipt_key))


@router.get("/v1/subjects/{subject_id}/export", summary="All that is held about one subject")
async def export_subject(caller: CallerDep, subject_id: str) -> SubjectExportAnswer:
    """Its templates with their embeddings, its terms, what it was asked, and the tries that are counted; in clear."""
    checked = check_subject_id(subject_id)
    person = await caller.run(lambda: caller.verifier.rights.person(caller.tenant, checked))
    return SubjectExportAnswer(format="matchka-subject-export-1", **asdict(person))


@router.delete(
    "/v1/templates/{template_id}",
    status_code=204,
    responses={204: {"headers": ANSWERED}},
    summary="Delete one template",
)
async def delete_template(caller: CallerDep, template_id: str) -> Response:
    """The subject's reference is recomputed at once; with its last template the subject goes."""
    position = await caller.run(lambda: caller.verifier.delete_template(caller.tenant, template_id))
    return Response(status_code=204, headers=headers_of(position))


def _to_cursor(subject_id: str) -> str:
    return base64.urlsafe_b64encode(subject_id.encode()).decode("ascii")


def _from_cursor(cursor: str | None) -> str | None:
    if cursor is None:
        return None
    try:
        return check_subject_id(base64.b64decode(cursor, altchars=b"-_", validate=True).decode())
    except (binascii.Error, ValueError, InvalidSubjectIdError) as error:
        raise InvalidFieldError(
            "cursor is not one of ours.", value=cursor, remedy="Pass next_cursor of the page before, unchanged."
        ) from error
