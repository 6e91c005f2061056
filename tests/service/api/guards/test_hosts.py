"""What is answered without a key, by Host, Origin and Sec-Fetch-Site; and what pages may do where a key is in force."""

import socket
from collections.abc import Callable
from pathlib import Path

import pytest
import requests
from starlette.datastructures import Headers

from matchka.api.guards.hosts import is_loopback_host, require_host, require_own_site
from matchka.errors import CrossSiteError, ForbiddenHostError, InvalidHostError
from matchka.settings import Settings
from tests.factories.bundles import write_bundle
from tests.factories.raw_http import whole_answer
from tests.factories.small_server import SmallServer, small_settings

KEY = "0123456789abcdef0123"
TIMEOUT_S = 20
OWN = [
    "localhost",
    "localhost.",
    "LocalHost:8000",
    "127.0.0.1",
    "127.0.0.1:1",
    "127.255.255.254",
    "[::1]",
    "[::1]:8000",
]
FOREIGN = [
    "evil.example",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "evil.example:8000",
    "evil.example@localhost",
    "localhost@evil.example",
    "localhost/evil",
    "localhost evil.example",
    "localhost:8000:8000",
    "localhost..",
    "[localhost]",
    "[::2]",
    "[::1",
    "::1",
    "128.0.0.1",
    "0.0.0.0",
    "10.0.0.1",
    "2130706433",
    "0x7f.1",
    "127.1",
    "\u24c1ocalhost",
    "",
    ":8000",
]


def headers_of(**given: str) -> Headers:
    return Headers({name.replace("_", "-"): value for name, value in given.items()})


@pytest.mark.parametrize("host", OWN)
def test_loopback_host_that_names_this_machine_passes(host: str):
    assert is_loopback_host(host)
    require_own_site(headers_of(host=host))
    require_own_site(headers_of(host=host, origin=f"http://{host}", sec_fetch_site="same-origin"))
    require_own_site(headers_of(host=host, origin=f"https://{host}", sec_fetch_site="none"))


@pytest.mark.parametrize("host", FOREIGN)
def test_loopback_host_that_names_another_or_nothing_is_refused(host: str):
    assert not is_loopback_host(host)
    with pytest.raises(ForbiddenHostError):
        require_own_site(Headers(raw=[(b"host", host.encode())]))


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "",
        "http://evil.example",
        "http://localhost",
        "http://localhost:3000",
        "http://127.0.0.1:8000",
        "file://",
    ],
)
def test_own_site_of_another_origin_is_refused(origin: str):
    with pytest.raises(CrossSiteError) as refused:
        require_own_site(headers_of(host="localhost:8000", origin=origin))
    assert refused.value.value == origin


@pytest.mark.parametrize("site", ["cross-site", "same-site", "", "SAME-ORIGIN", "anything"])
def test_own_site_that_another_site_asks_for_is_refused(site: str):
    with pytest.raises(CrossSiteError):
        require_own_site(headers_of(host="localhost:8000", sec_fetch_site=site))


@pytest.mark.parametrize("hosts", [[], [b""], [b"localhost", b"localhost"], [b"localhost", b"evil.example"]])
def test_host_that_is_not_given_once_is_refused(hosts: list[bytes]):
    with pytest.raises(InvalidHostError):
        require_host(Headers(raw=[(b"host", host) for host in hosts]), "1.1")


NO_HOSTS = ["127.0.0.1/evil", "evil@127.0.0.1", "a b", "a,b", "a:b:c", "[::1", "<a>", "a\\b", "\xe9", ":80"]


@pytest.mark.parametrize("host", NO_HOSTS)
def test_host_that_is_no_host_is_refused(host: str):
    with pytest.raises(InvalidHostError):
        require_host(Headers(raw=[(b"host", host.encode("latin-1"))]), "1.1")


@pytest.mark.parametrize("host", ["a.example", "A_1.example:8000", "xn--bcher-kva.example.", "10.0.0.1", "[::1]:80"])
def test_host_of_any_name_or_address_passes(host: str):
    require_host(headers_of(host=host), "1.1")


def test_host_that_is_no_host_is_answered_400_with_the_key(
    keyed: Settings, start_small_server: Callable[[Settings], SmallServer]
):
    server = start_small_server(keyed)
    for host in ("127.0.0.1/evil", "evil@127.0.0.1"):
        given = {"Host": host, "Authorization": f"Bearer {KEY}"}
        answer = requests.get(f"{server.url}/v1/models", headers=given, timeout=TIMEOUT_S)
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_host")


def test_host_may_be_left_out_in_the_protocol_that_had_none():
    require_host(Headers(raw=[]), "1.0")
    require_host(Headers(raw=[(b"host", b"x")]), "1.1")


def test_request_without_host_is_answered_400(small_server: SmallServer):
    host, port = small_server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=TIMEOUT_S) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\n\r\n")
        answer = whole_answer(connection)
    assert answer.startswith(b"HTTP/1.1 400")
    assert b'"code":"invalid_host"' in answer


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/openapi.json", "/v1/models", "/v1/subjects"])
def test_request_for_another_host_is_refused_on_every_path_without_a_key(small_server: SmallServer, path: str):
    answer = requests.get(small_server.url + path, headers={"Host": "rebound.example"}, timeout=TIMEOUT_S)
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden_host")


@pytest.fixture
def keyed(tmp_path: Path) -> Settings:
    write_bundle(tmp_path / "models" / "voice")
    return small_settings(tmp_path, api_key=KEY)


def preflight(server: SmallServer, origin: str) -> requests.Response:
    asked = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization",
    }
    return requests.options(f"{server.url}/v1/embed", headers=asked, timeout=TIMEOUT_S)


def test_pages_of_other_origins_with_a_key_are_given_nothing_by_default(
    keyed: Settings, start_small_server: Callable[[Settings], SmallServer]
):
    server = start_small_server(keyed)
    elsewhere = {"Host": "matchka.example", "Origin": "https://a.example", "Authorization": f"Bearer {KEY}"}
    answer = requests.get(f"{server.url}/v1/models", headers=elsewhere, timeout=TIMEOUT_S)
    assert answer.status_code == 200  # a proxy's name, and a caller that is no browser
    assert not [name for name in answer.headers if name.lower().startswith("access-control")]
    assert preflight(server, "https://a.example").status_code == 401


def test_pages_of_allowed_origins_with_a_key_may_call_and_read_refusals(
    keyed: Settings, start_small_server: Callable[[Settings], SmallServer]
):
    server = start_small_server(keyed.model_copy(update={"allowed_origins": ("https://a.example",)}))
    answer = preflight(server, "https://a.example")
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, "https://a.example")
    assert preflight(server, "https://b.example").status_code == 400
    for key, status in ((KEY, 200), ("wrong", 401)):
        given = {"Origin": "https://a.example", "Authorization": f"Bearer {key}"}
        answer = requests.get(f"{server.url}/v1/models", headers=given, timeout=TIMEOUT_S)
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (status, "https://a.example")
    given = {"Origin": "https://b.example", "Authorization": f"Bearer {KEY}"}
    answer = requests.get(f"{server.url}/v1/models", headers=given, timeout=TIMEOUT_S)
    assert "access-control-allow-origin" not in answer.headers
