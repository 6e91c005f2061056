"""GET /v1/audit: the audit log of the caller's own tenant."""

from dataclasses import asdict
from typing import Annotated

from fastapi import Depends, Query

from matchka.api.answers.service import AuditAnswer, AuditRecordAnswer
from matchka.api.dependencies import Caller, caller_with
from matchka.api.routing import GuardedRouter
from matchka.store.subject_id import check_subject_id

router = GuardedRouter(tags=["audit"])


@router.get("/v1/audit", summary="Who asked for what, and what was decided")
async def read_audit(
    caller: Annotated[Caller, Depends(caller_with("limit", "cursor", "subject_id"))],
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: Annotated[str | None, Query(max_length=256)] = None,
    subject_id: Annotated[str | None, Query(max_length=1024)] = None,
) -> AuditAnswer:
    """A page of the tenant's records, or of those about one subject, oldest first."""
    log, tenant = caller.verifier.audit, caller.tenant
    after = 0 if cursor is None else log.cursors.read(cursor)
    whose = None if subject_id is None else check_subject_id(subject_id)
    with_nobodys = caller.grant.is_operator
    found = await caller.run(lambda: log.page(tenant, limit + 1, after, whose, with_nobodys))
    page = found[:limit]
    return AuditAnswer(
        records=[AuditRecordAnswer(**_described(asdict(record))) for record in page],
        next_cursor=log.cursors.write(page[-1].sequence) if len(found) > limit else None,
    )


def _described(record: dict[str, object]) -> dict[str, object]:
    return {name: record[name] for name in AuditRecordAnswer.model_fields}
