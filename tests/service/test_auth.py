"""API keys."""

import pytest

from service.auth import DEFAULT_TENANT, KeyRing
from service.errors import UnauthorizedError
from service.settings import read_settings

KEY = "correct horse battery staple"


@pytest.fixture
def keys() -> KeyRing:
    return KeyRing(read_settings({"MATCHKA_API_KEY": KEY}))


@pytest.mark.parametrize("header", [None, "", "Bearer anything", "Basic dXNlcjpwYXNz"])
def test_tenant_of_any_caller_without_keys_in_force_is_the_default(header: str | None):
    assert KeyRing(read_settings({})).tenant_of(header) == DEFAULT_TENANT


@pytest.mark.parametrize("header", [f"Bearer {KEY}", f"bearer {KEY}", f"BEARER   {KEY}  "])
def test_tenant_of_a_caller_with_the_key_is_the_default(keys: KeyRing, header: str):
    assert keys.tenant_of(header) == DEFAULT_TENANT


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        KEY,
        f"Basic {KEY}",
        f"Token {KEY}",
        f"Bearer{KEY}",
        f"Bearer {KEY}x",
        f"Bearer {KEY[:-1]}",
        f"Bearer {KEY.upper()}",
        f"Bearer {KEY} {KEY}",
        "Bearer \xff\xfe",
    ],
)
def test_tenant_of_a_caller_without_the_key_is_refused_without_repeating_it(keys: KeyRing, header: str | None):
    with pytest.raises(UnauthorizedError) as refused:
        keys.tenant_of(header)
    assert refused.value.value is None
    assert KEY not in str(refused.value)
