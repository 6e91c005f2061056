"""/docs and /openapi.json: for whom they are, and that the page asks no other host."""

import re
from collections.abc import Callable

import pytest
import requests

from matchka.errors import SettingsError
from matchka.settings import Settings, read_settings
from tests.factories.small_server import SmallServer

KEY = "0123456789abcdef0123"
PAGES = ("/openapi.json", "/docs", "/docs/start.js", "/docs/swagger-ui.css", "/docs/swagger-ui-bundle.js")
StartSmallServer = Callable[[Settings], SmallServer]


def get(server: SmallServer, path: str, key: str | None = None) -> requests.Response:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return requests.get(server.url + path, headers=headers, timeout=20)


def with_changes(settings: Settings, **changes: str) -> Settings:
    return Settings(**{**settings.model_dump(), **changes})


def test_page_without_a_key_in_force_is_for_everybody(small_server: SmallServer):
    assert [get(small_server, path).status_code for path in PAGES] == [200] * len(PAGES)


def test_page_with_a_key_in_force_needs_it(settings: Settings, start_small_server: StartSmallServer):
    server = start_small_server(with_changes(settings, api_key=KEY))
    assert [get(server, path).status_code for path in PAGES] == [401] * len(PAGES)
    assert [get(server, path, KEY).status_code for path in PAGES] == [200] * len(PAGES)


def test_page_that_is_open_needs_no_key_and_its_calls_do(settings: Settings, start_small_server: StartSmallServer):
    server = start_small_server(with_changes(settings, api_key=KEY, docs="open"))
    assert [get(server, path).status_code for path in PAGES] == [200] * len(PAGES)
    assert get(server, "/v1/models").status_code == 401


def test_page_that_is_off_is_not_there(settings: Settings, start_small_server: StartSmallServer):
    server = start_small_server(with_changes(settings, docs="off"))
    for path in PAGES:
        assert (get(server, path).status_code, get(server, path).json()["code"]) == (404, "unknown_path")


def test_setting_of_the_page_that_is_none_of_three_is_refused():
    with pytest.raises(SettingsError, match="MATCHKA_DOCS"):
        read_settings({"MATCHKA_DOCS": "true"})


def test_page_loads_only_files_of_this_service_and_they_are_there(small_server: SmallServer):
    page = get(small_server, "/docs")
    loaded = re.findall(r'(?:src|href)="([^"]*)"', page.text)
    assert len(loaded) == 4
    for address in loaded:
        assert re.fullmatch(r"docs/[a-z0-9.-]+", address), "an address of another host"
        assert get(small_server, f"/{address}").content
    assert "//" not in page.text
    assert "//" not in get(small_server, "/docs/start.js").text
    assert re.findall(r"<script[^>]*>([^<]*)</script>", page.text) == ["", ""], "a script within the page"


def test_page_forbids_its_scripts_every_other_host(small_server: SmallServer):
    directives = get(small_server, "/docs").headers["content-security-policy"].split("; ")
    policy = {directive.split()[0]: directive.split()[1:] for directive in directives}
    assert policy.pop("default-src") == ["'none'"]
    assert policy.pop("img-src") == ["'self'", "data:"]
    assert {source for sources in policy.values() for source in sources} <= {"'self'", "'none'"}
    assert {"base-uri", "form-action", "frame-ancestors"} <= set(policy), "default-src does not cover these"


@pytest.mark.parametrize("name", ["__init__.py", "..%2F__init__.py", "%00", "nothing"])
def test_page_hands_out_no_other_file(small_server: SmallServer, name: str):
    assert get(small_server, f"/docs/{name}").status_code == 404


def test_pages_of_the_framework_that_load_from_other_hosts_are_gone(small_server: SmallServer):
    assert get(small_server, "/redoc").status_code == 404
    assert get(small_server, "/docs/oauth2-redirect").status_code == 404
