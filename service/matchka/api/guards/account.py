"""Which account a request is charged to."""

import hashlib
from typing import Final

from starlette.datastructures import Headers
from starlette.types import Scope

from matchka.runtime.fairness.account import ANONYMOUS, Account

TENANT: Final = "matchka.tenant"  # in the scope, once the guard of keys has let the request in


def note_tenant(scope: Scope, tenant: str) -> None:
    """Say whose key a request has."""
    scope[TENANT] = tenant


def tenant_of(scope: Scope) -> str | None:
    """Whose key a request has; None where the guard of keys has not let it in."""
    tenant: str | None = scope.get(TENANT)
    return tenant


def account_of(scope: Scope) -> Account:
    """The account of a request that the guard of keys has let in: one for each key of a tenant, never kept in clear.

    Without a key in force, callers on this machine may share it by sending any Authorization header.

    >>> account_of({"type": "http", "headers": []}).name
    'anonymous'
    >>> keys = (b"Bearer a", b"bearer  a", b"Bearer b")
    >>> names = [account_of({"type": "http", "headers": [(b"authorization", key)]}).name for key in keys]
    >>> names[0] == names[1], names[0] == names[2]
    (True, False)
    >>> account_of({"type": "http", "headers": [(b"authorization", b"Bearer a")], TENANT: "research"}).tenant
    'research'
    """
    authorization = Headers(scope=scope).get("authorization")
    if authorization is None:
        return ANONYMOUS
    key = authorization.partition(" ")[2].strip()  # as the guard reads it: one key written in two ways is one account
    return Account(hashlib.sha256(key.encode()).hexdigest(), tenant=tenant_of(scope) or ANONYMOUS.tenant)
