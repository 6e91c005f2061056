"""What is known of a key, what it lets its caller do, and its secret."""

import hashlib
import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from secrets import token_hex
from typing import Final

from matchka.errors import InvalidFieldError
from matchka.store.keys.scopes import ALL_SCOPES, DEFAULT_SCOPES, Scope

DEFAULT_TENANT: Final = "default"
NAME: Final = re.compile(r"[^\W_][\w .:@-]{0,63}")  # of a key or a tenant: letters, digits and what names have
ID_BYTES: Final = 6
SECRET_BYTES: Final = 32  # 256 random bits: nobody guesses them, so that a plain digest protects them
DEFAULT_MAX_FMR: Final = 1e-3  # ceilings of a new key: what a call asks for that says nothing
DEFAULT_MAX_FPIR: Final = 1e-2


def _require(holds: bool, what: str, value: object, allowed: str) -> None:
    if not holds:
        raise InvalidFieldError(f"{what} must be {allowed}.", value=value, remedy="Correct the value.")


@dataclass(frozen=True)
class Ceilings:
    """The most that a key's calls may ask for; None bounds nothing.

    Attributes:
        max_fmr: highest false match rate.
        max_fpir: highest false positive identification rate.
        requests_per_s: requests a second, over the last seconds.
        max_subjects: subjects in the tenant, above which the key enrols nobody new.
        max_templates: templates of one subject, of all models.
    """

    max_fmr: float | None = None
    max_fpir: float | None = None
    requests_per_s: float | None = None
    max_subjects: int | None = None
    max_templates: int | None = None

    def __post_init__(self) -> None:
        """Refuse what can bound nothing or everything.

        Raises: InvalidFieldError: a value out of range.
        """
        for name in ("max_fmr", "max_fpir"):
            rate: float | None = getattr(self, name)
            _require(rate is None or 0 < rate <= 1, name, rate, "above 0 and at most 1, which bounds nothing")
        rate = self.requests_per_s
        _require(rate is None or 0.01 <= rate <= 1e6, "requests_per_s", rate, "from 0.01 to 1000000")
        for name in ("max_subjects", "max_templates"):
            count: int | None = getattr(self, name)
            _require(count is None or 1 <= count < 2**31, name, count, "from 1 to 2147483647")


NO_CEILINGS: Final = Ceilings()


@dataclass(frozen=True)
class Grant:
    """What a caller may do, and in which tenant.

    Attributes:
        key_id: by which the caller is known; None where no key is in force.
        is_operator: whether it is the one who runs the service, to whom all tenants' metrics are shown.
    """

    tenant: str
    scopes: frozenset[Scope]
    key_id: str | None
    ceilings: Ceilings = NO_CEILINGS
    is_operator: bool = False


KEYLESS: Final = Grant(DEFAULT_TENANT, ALL_SCOPES, None, is_operator=True)
FIRST: Final = Grant(DEFAULT_TENANT, ALL_SCOPES, "first", is_operator=True)


@dataclass(frozen=True)
class KeySpec:
    """A key that is to be made.

    Attributes:
        name: for people; several keys may have the same.
        tenant: all that it sees.
        scopes: what it may do.
        ceilings: the most it may ask for.
        lifetime: until it expires; None: never.
    """

    name: str
    tenant: str = DEFAULT_TENANT
    scopes: frozenset[Scope] = DEFAULT_SCOPES
    ceilings: Ceilings = field(default=Ceilings(max_fmr=DEFAULT_MAX_FMR, max_fpir=DEFAULT_MAX_FPIR))
    lifetime: timedelta | None = None

    def __post_init__(self) -> None:
        """Check the names and the lifetime.

        Raises: InvalidFieldError: one that cannot be.
        """
        for what, given in (("name", self.name), ("tenant", self.tenant)):
            allowed = "1 to 64 letters, digits and `._:@-` or blanks, and begin with a letter or digit"
            _require(NAME.fullmatch(given) is not None, what, given, allowed)
        lifetime = self.lifetime
        is_possible = lifetime is None or timedelta(0) < lifetime <= timedelta(days=36500)
        _require(is_possible, "the lifetime", lifetime, "above 0 and at most 100 years")


@dataclass(frozen=True)
class ApiKey:
    """A key as it is stored; of its secret there is only a digest, which is not in here.

    Attributes:
        replaced_by: the key that rotation made in its place.
        last_used_at: to about a minute.
    """

    key_id: str
    name: str
    tenant: str
    scopes: frozenset[Scope]
    ceilings: Ceilings
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    replaced_by: str | None
    last_used_at: datetime | None

    @property
    def grant(self) -> Grant:
        """What its callers may do."""
        return Grant(self.tenant, self.scopes, self.key_id, self.ceilings)

    def is_in_force(self, now: datetime) -> bool:
        """Whether it opens anything at a time of the database's clock."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


def new_key_id() -> str:
    """A random name of a key, 12 hexadecimal digits, which may be shown and logged."""
    return token_hex(ID_BYTES)


def new_secret(key_id: str) -> str:
    """A key as its caller sends it: `mk_`, the key's id, and 256 random bits."""
    return f"mk_{key_id}_{token_hex(SECRET_BYTES)}"


def digest_of(secret: str) -> str:
    """What is stored of a key: SHA-256, 64 hexadecimal digits.

    >>> digest_of("abc")[:16]
    'ba7816bf8f01cfea'
    """
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
