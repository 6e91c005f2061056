"""The header Location of what was made, and the methods that a path allows."""

from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from matchka.settings import Settings
from tests.factories.bundles import write_bundle
from tests.factories.samples import sample
from tests.factories.small_server import SmallServer, small_settings

KEY = "0123456789abcdef0123"
TIMEOUT_S = 60


def enrolled(server: SmallServer, subject: str, number: int) -> requests.Response:
    form = {"model": "voice", "subject_id": subject}
    return requests.post(f"{server.url}/v1/enroll", data=form, files={"file": sample(number)}, timeout=TIMEOUT_S)


@pytest.mark.parametrize(("subject", "number"), [("ada", 21), ("\u00e9lan@home:7", 22)])
def test_enrolment_answers_where_its_subject_lies(small_server: SmallServer, subject: str, number: int):
    answer = enrolled(small_server, subject, number)
    assert answer.status_code == 201
    found = requests.get(small_server.url + answer.headers["Location"], timeout=TIMEOUT_S)
    assert found.json()["subject_id"] == subject


def test_new_key_answers_where_it_lies_and_is_revoked_there(
    start_small_server: Callable[[Settings], SmallServer], tmp_path: Path
):
    write_bundle(tmp_path / "models" / "voice")
    server, headers = start_small_server(small_settings(tmp_path, api_key=KEY)), {"Authorization": f"Bearer {KEY}"}
    made = requests.post(f"{server.url}/v1/keys", json={"name": "door"}, headers=headers, timeout=TIMEOUT_S)
    where = server.url + made.headers["Location"]
    assert requests.delete(where, headers=headers, timeout=TIMEOUT_S).status_code == 204
    listed = requests.get(f"{server.url}/v1/keys", headers=headers, timeout=TIMEOUT_S).json()["keys"]
    assert {key["key_id"]: bool(key["revoked_at"]) for key in listed}[made.json()["key_id"]]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/v1/subjects/ada", "DELETE, GET, PATCH"),
        ("OPTIONS", "/v1/keys", "GET, POST"),
        ("GET", "/v1/embeddings", "POST"),
        ("POST", "/healthz", "GET"),
        ("POST", "/docs", "GET"),
    ],
)
def test_method_that_a_path_does_not_have_is_answered_those_that_it_has(
    small_server: SmallServer, method: str, path: str, allowed: str
):
    answer = requests.request(method, small_server.url + path, timeout=TIMEOUT_S)
    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
    assert answer.headers["Allow"] == allowed
