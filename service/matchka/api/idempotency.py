"""The header Idempotency-Key: a request that is sent again with it is done once, and answered as it was."""

import hashlib
import json
from typing import Annotated, Final

from fastapi import Depends, Header, Request

from matchka.api.dependencies import Caller
from matchka.api.forms.enrolment import EnrollForm
from matchka.errors import InvalidFieldError
from matchka.store.idempotency.requests import NamedRequest

HEADER: Final = "Idempotency-Key"
REPLAYED: Final = {"Idempotency-Replayed": "true"}  # on what was answered before
REPLAYED_HEADER: Final = {
    "Idempotency-Replayed": {
        "description": "`true` where this request was done before with its Idempotency-Key; absent otherwise.",
        "schema": {"type": "string"},
    }
}
VISIBLE: Final = r"^[!-~]{1,255}$"


async def idempotency_key(
    request: Request,
    key: Annotated[
        str | None,
        Header(
            alias=HEADER,
            pattern=VISIBLE,
            description="A name of this request, new and random: sent again with the same fields and files, it is done "
            "once and answered as it was, for MATCHKA_IDEMPOTENCY_HOURS.",
        ),
    ] = None,
) -> str | None:
    """The key of a request, if it has one.

    Raises: InvalidFieldError: it has several.
    """
    given = request.headers.getlist(HEADER)
    if len(given) > 1:
        raise InvalidFieldError("Idempotency-Key is given twice.", value=", ".join(given), remedy="Give it once.")
    return key


IdempotencyKey = Annotated[str | None, Depends(idempotency_key)]


def named(caller: Caller, key: str | None, form: EnrollForm) -> NamedRequest | None:
    """The request under its caller's key; None where it has none. For worker threads: it reads all the files."""
    if key is None:
        return None
    return caller.verifier.answers.named(caller.tenant, caller.grant.key_id, key, content_of(form))


def content_of(form: EnrollForm) -> bytes:
    """All that an enrolment asks for, however its fields were ordered or written.

    What a call leaves out is left out here as well, so that versions of the service that know more fields agree.
    """
    fields = form.model_dump(mode="json", exclude={"file"}, exclude_defaults=True)
    files = [hashlib.sha256(file).hexdigest() for file in form.file]
    return json.dumps({"call": "enroll", "fields": fields, "files": files}, sort_keys=True).encode()
