"""Scopes: what a key may do, each by one word."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Final

from matchka.errors import InvalidFieldError, MissingScopeError


class Scope(StrEnum):
    """A right of a key; which calls each opens is in matchka/api/scopes.py."""

    ENROLL = "enroll"
    APPEND = "append"
    VERIFY = "verify"
    IDENTIFY = "identify"
    EMBED = "embed"
    ANALYSE = "analyse"
    SCORES = "scores"
    SUBJECTS_READ = "subjects.read"
    SUBJECTS_DELETE = "subjects.delete"
    AUDIT_READ = "audit.read"
    METRICS = "metrics"
    ADMIN = "admin"


ALL: Final = "all"
ALL_SCOPES: Final = frozenset(Scope)
DEFAULT_SCOPES: Final = frozenset({Scope.ENROLL, Scope.VERIFY, Scope.IDENTIFY})


def read_scopes(text: str) -> frozenset[Scope]:
    """Scopes that are separated by commas or blanks; `all` by itself is every one.

    Raises: InvalidFieldError: a word is none of them, or there is none.

    >>> sorted(read_scopes("verify, enroll"))
    [<Scope.ENROLL: 'enroll'>, <Scope.VERIFY: 'verify'>]
    """
    words = text.replace(",", " ").split()
    if words == [ALL]:
        return ALL_SCOPES
    unknown = [word for word in words if word not in set(Scope)]
    if unknown or not words:
        raise InvalidFieldError(
            "A key has at least one scope, and only scopes that there are.",
            value=", ".join(unknown) or text,
            remedy=f"Use {ALL}, or some of {', '.join(Scope)}.",
        )
    return frozenset(map(Scope, words))


def write_scopes(scopes: Iterable[Scope]) -> str:
    """Scopes as text, in the order in which they are declared.

    >>> write_scopes({Scope.VERIFY, Scope.ENROLL})
    'enroll verify'
    """
    given = frozenset(scopes)
    return " ".join(scope for scope in Scope if scope in given)


def missing_scope(scope: Scope) -> MissingScopeError:
    """The refusal of a caller whose key lacks a scope."""
    return MissingScopeError(
        f"This needs a key with the scope {scope}.",
        value=scope,
        remedy="Use another key, or make one: `matchka keys create NAME --scopes ...`.",
    )
