"""The page's files: for everybody, with rules for browsers, and nothing else of the machine."""

import re
from collections.abc import Callable
from html.parser import HTMLParser

import pytest
import requests

from matchka.settings import Settings
from tests.factories.checkout import ROOT
from tests.factories.small_server import SmallServer

WEB = ROOT / "service" / "matchka" / "web"
KEY = "0123456789abcdef0123"
TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".html": "text/html"}
StartSmallServer = Callable[[Settings], SmallServer]


def get(server: SmallServer, path: str) -> requests.Response:
    return requests.get(server.url + path, timeout=20)


def with_changes(settings: Settings, **changes: object) -> Settings:
    return Settings(**{**settings.model_dump(), **changes})


class Addresses(HTMLParser):
    """What a document makes a browser load."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, _tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [
            value for name, value in attrs if name in ("src", "href") and value and not value.startswith("#")
        ]


def test_every_file_of_the_page_is_served_with_its_type(small_server: SmallServer):
    files = [file for file in WEB.rglob("*") if file.is_file()]
    assert len(files) > 15
    for file in files:
        answer = get(small_server, f"/page/{file.relative_to(WEB).as_posix()}")
        assert answer.content == file.read_bytes()
        assert answer.headers["content-type"].partition(";")[0] == TYPES[file.suffix]


def test_page_allows_browsers_its_own_files_and_no_code_out_of_text(small_server: SmallServer):
    answer = get(small_server, "/")
    policy = dict(rule.split(" ", 1) for rule in answer.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert {policy[kind] for kind in ("script-src", "style-src", "connect-src")} == {"'self'"}
    assert policy["require-trusted-types-for"] == "'script'"
    assert not re.search(r"unsafe|\*|http", answer.headers["content-security-policy"])


def test_page_loads_only_files_that_are_there_and_no_other_host_s(small_server: SmallServer):
    parser = Addresses()
    parser.feed(get(small_server, "/").text)
    assert parser.found
    assert [get(small_server, f"/{address}").status_code for address in parser.found] == [200] * len(parser.found)


def test_imports_of_modules_lead_to_files_of_the_page():
    modules = list(WEB.rglob("*.js"))
    imports = [
        (module, address)
        for module in modules
        for address in re.findall(r'^import .* from "([^"]+)";$', module.read_text(), re.M)
    ]
    assert len(imports) > 20
    assert [(module.name, address) for module, address in imports if not (module.parent / address).is_file()] == []


@pytest.mark.parametrize(
    "path",
    [
        "/page/",
        "/page/nothing.js",
        "/page/../settings.py",
        "/page/%2e%2e/settings.py",
        "/page/..%2fsettings.py",
        "/page//etc/passwd",
    ],
)
def test_what_is_no_file_of_the_page_is_not_found(small_server: SmallServer, path: str):
    request = requests.Request("GET", small_server.url).prepare()
    request.url = small_server.url + path  # unchanged by the client
    with requests.Session() as session:
        answer = session.send(request, timeout=20)
    assert answer.status_code == 404
    assert answer.json()["code"] == "unknown_path"


def test_page_is_served_without_a_key_and_what_it_asks_for_is_not(
    settings: Settings, start_small_server: StartSmallServer
):
    server = start_small_server(with_changes(settings, api_key=KEY))
    assert get(server, "/").status_code == 200
    assert get(server, "/v1/models").status_code == 401


def test_page_that_is_switched_off_is_not_found(settings: Settings, start_small_server: StartSmallServer):
    server = start_small_server(with_changes(settings, page=False))
    assert [get(server, path).status_code for path in ("/", "/page/app.js")] == [404, 404]
