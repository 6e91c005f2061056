"""Matchka-Position over HTTP: told by whatever changes a gallery, and waited for by a search that is sent it."""

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from matchka.settings import FeedSettings
from tests.factories.bundles import write_bundle
from tests.factories.samples import sample
from tests.factories.small_server import SmallServer, serving, small_settings

HEADER = "Matchka-Position"
POSITION = re.compile(r"[0-9a-f]{8}(-[1-9][0-9]*)+")
TIMEOUT_S = 60
PATIENCE_S = 60.0


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SmallServer]:
    write_bundle(tmp_path / "models" / "voice")
    with serving(small_settings(tmp_path, feed=FeedSettings(wait_s=PATIENCE_S))) as running:
        yield running


def enroll(server: SmallServer, name: str, person: int) -> requests.Response:
    fields = {"model": "voice", "subject_id": name}
    return requests.post(f"{server.url}/v1/enroll", fields, files={"file": sample(person)}, timeout=TIMEOUT_S)


def identify(server: SmallServer, person: int, position: str | None = None) -> requests.Response:
    headers = {} if position is None else {HEADER: position}
    url, files = f"{server.url}/v1/identify", {"file": sample(person, 1)}
    return requests.post(url, {"model": "voice"}, files=files, headers=headers, timeout=TIMEOUT_S)


def test_enrolments_deletions_and_searches_tell_a_position_and_a_search_takes_it(server: SmallServer):
    enrolled = enroll(server, "ada", 1)
    assert enrolled.status_code == 201
    assert enrolled.json()["position"] == enrolled.headers[HEADER]
    found = identify(server, 1, enrolled.headers[HEADER])
    assert [one["subject_id"] for one in found.json()["candidates"]] == ["ada"]
    assert found.json()["position"] == found.headers[HEADER]
    enroll(server, "ben", 2)
    (template,) = enrolled.json()["template_ids"]
    deletions = [
        requests.delete(f"{server.url}/v1/templates/{template}", timeout=TIMEOUT_S),
        requests.delete(f"{server.url}/v1/subjects/ben?receipt=true", timeout=TIMEOUT_S),
    ]
    enroll(server, "eve", 3)
    deletions.append(requests.delete(f"{server.url}/v1/subjects/eve", timeout=TIMEOUT_S))
    assert [one.status_code for one in deletions] == [204, 200, 204]
    told = [enrolled.headers[HEADER], *(one.headers[HEADER] for one in deletions)]
    assert all(POSITION.fullmatch(one) for one in told)
    assert len(set(told)) == 4
    assert identify(server, 1, told[-1]).json()["candidates"] == []


@pytest.mark.parametrize(
    "text", ["", "rubbish", "0f0f0f0f", "0f0f0f0f-0", "0f0f0f0f-7-7", "0f0f0f0f-7-3-2", "X" * 5000]
)
def test_position_that_is_none_is_refused(server: SmallServer, text: str):
    refused = identify(server, 1, text)
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_position")


def test_position_of_another_store_is_refused_and_one_that_is_not_reached_is_to_be_asked_again(tmp_path: Path):
    write_bundle(tmp_path / "models" / "voice")
    with serving(small_settings(tmp_path, feed=FeedSettings(wait_s=0.2))) as server:
        store, number, *_ = enroll(server, "ada", 1).headers[HEADER].split("-")
        other = identify(server, 1, f"{'0' * 8}-{number}")
        ahead = identify(server, 1, f"{store}-{int(number) + 1000}")
    assert (other.status_code, other.json()["code"]) == (422, "invalid_position")
    assert (ahead.status_code, ahead.json()["code"], ahead.headers["Retry-After"]) == (503, "gallery_stale", "1")


def test_ready_answers_503_while_the_gallery_does_not_follow_and_metrics_tell_how_far_it_is_behind(tmp_path: Path):
    write_bundle(tmp_path / "models" / "voice")
    settings = small_settings(tmp_path, feed=FeedSettings(stale_s=0.5))
    with serving(settings) as server:
        enroll(server, "ada", 1)
        state = server.app.state.service
        assert metric(server, "matchka_feed_lag_seconds") < PATIENCE_S
        assert metric(server, "matchka_feed_position") > 1
        with state.verifier._follower.applying:
            enroll(server, "eve", 2)  # with nothing new it would not be behind
            wait_for_status(server, 503)
            refused = requests.get(f"{server.url}/readyz", timeout=TIMEOUT_S)
            assert (refused.json()["code"], refused.headers["Retry-After"]) == ("gallery_stale", "1")
            assert requests.get(f"{server.url}/healthz", timeout=TIMEOUT_S).status_code == 200
            assert metric(server, "matchka_feed_lag_seconds") > 0.5
        wait_for_status(server, 200)


def metric(server: SmallServer, name: str) -> float:
    lines = requests.get(f"{server.url}/metrics", timeout=TIMEOUT_S).text.splitlines()
    (value,) = (line.split()[1] for line in lines if line.startswith(f"{name} "))
    return float(value)


def wait_for_status(server: SmallServer, status: int) -> None:
    end = time.monotonic() + PATIENCE_S
    while requests.get(f"{server.url}/readyz", timeout=TIMEOUT_S).status_code != status:
        assert time.monotonic() < end
        time.sleep(0.02)


def test_pages_of_an_allowed_origin_may_send_and_read_positions(tmp_path: Path):
    write_bundle(tmp_path / "models" / "voice")
    key, origin = "0123456789abcdef0123", "https://a.example"
    with serving(small_settings(tmp_path, api_key=key, allowed_origins=(origin,))) as server:
        asked = {"Origin": origin, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": HEADER}
        preflight = requests.options(f"{server.url}/v1/identify", headers=asked, timeout=TIMEOUT_S)
        assert preflight.status_code == 200
        answer = requests.get(f"{server.url}/v1/models", headers={"Origin": origin}, timeout=TIMEOUT_S)
        assert HEADER.lower() in answer.headers["Access-Control-Expose-Headers"].lower()
