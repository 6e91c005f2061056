"""Files come over HTTP from a real server that misbehaves; what arrives is compared byte by byte."""

import socket
from pathlib import Path

import pytest

from matchka_train.errors import DownloadError
from matchka_train.weights.download import BLOCK_BYTES, RetryPolicy, fetch_file
from tests.factories.hub_server import CONTENT, Hub, serve

HASTY = RetryPolicy(connect_s=5.0, read_s=0.3, attempts=3, pause_s=0.0)
HALF = len(CONTENT) // 2


def fetch(hub: Hub, part: Path) -> list[tuple[int, int | None]]:
    seen: list[tuple[int, int | None]] = []
    fetch_file(hub.url, part, HASTY, lambda have, total: seen.append((have, total)))
    return seen


def resumed_from(request: dict[str, str]) -> int:
    return int(request["Range"].removeprefix("bytes=").removesuffix("-"))


def test_fetch_when_the_hub_behaves_brings_every_byte_and_leaves_nothing_beside_it(tmp_path):
    with serve(Hub()) as hub:
        seen = fetch(hub, tmp_path / "model.pt.part")
    assert (tmp_path / "model.pt.part").read_bytes() == CONTENT
    assert [path.name for path in tmp_path.iterdir()] == ["model.pt.part"]
    assert seen[0] == (0, len(CONTENT))
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert hub.requests[0]["Accept-Encoding"] == "identity"


@pytest.mark.parametrize("interruption", ["truncate", "stall"])
def test_fetch_when_the_body_ends_early_goes_on_where_it_stopped(tmp_path, interruption):
    with serve(Hub(behaviours=[interruption, "range"])) as hub:
        seen = fetch(hub, tmp_path / "part")
    assert (tmp_path / "part").read_bytes() == CONTENT
    assert len(hub.requests) == 2
    assert "Range" not in hub.requests[0]
    begun = resumed_from(hub.requests[1])
    assert HALF - BLOCK_BYTES <= begun <= HALF
    assert hub.requests[1]["If-Range"] == '"one"'
    assert seen.count((begun, len(CONTENT))) == 2  # the bar goes on too


def test_fetch_when_an_earlier_run_was_interrupted_goes_on_from_its_part(tmp_path):
    with serve(Hub(behaviours=["truncate", "404"])) as hub, pytest.raises(DownloadError):
        fetch(hub, tmp_path / "part")
    with serve(Hub()) as hub:
        fetch(hub, tmp_path / "part")
    assert HALF - BLOCK_BYTES <= resumed_from(hub.requests[0]) <= HALF
    assert (tmp_path / "part").read_bytes() == CONTENT


def test_fetch_when_the_hub_ignores_ranges_begins_anew(tmp_path):
    with serve(Hub(behaviours=["truncate", "whole"])) as hub:
        fetch(hub, tmp_path / "part")
    assert (tmp_path / "part").read_bytes() == CONTENT


def test_fetch_when_the_file_changed_meanwhile_does_not_join_two_files(tmp_path):
    with serve(Hub(behaviours=["truncate", "404"])) as hub, pytest.raises(DownloadError):
        fetch(hub, tmp_path / "part")
    other = CONTENT[::-1]
    with serve(Hub(content=other, etag='"two"')) as hub:
        fetch(hub, tmp_path / "part")
    assert hub.requests[0]["If-Range"] == '"one"'
    assert (tmp_path / "part").read_bytes() == other


@pytest.mark.parametrize("etag", [None, 'W/"weak"'])
def test_fetch_when_nothing_says_that_the_file_is_the_same_begins_anew(tmp_path, etag):
    with serve(Hub(etag=etag, behaviours=["truncate", "range"])) as hub:
        fetch(hub, tmp_path / "part")
    assert [request.get("Range") for request in hub.requests] == [None, None]
    assert (tmp_path / "part").read_bytes() == CONTENT


@pytest.mark.parametrize("trouble", ["other range", "unsatisfiable"])
def test_fetch_when_the_range_is_answered_wrongly_begins_anew(tmp_path, trouble):
    with serve(Hub(behaviours=["truncate", trouble, "range"])) as hub:
        fetch(hub, tmp_path / "part")
    assert ["Range" in request for request in hub.requests] == [False, True, False]
    assert (tmp_path / "part").read_bytes() == CONTENT


@pytest.mark.parametrize("status", ["500", "503", "429"])
def test_fetch_when_the_hub_is_away_for_a_while_asks_again(tmp_path, status):
    with serve(Hub(behaviours=[status, status, "range"])) as hub:
        fetch(hub, tmp_path / "part")
    assert len(hub.requests) == 3
    assert (tmp_path / "part").read_bytes() == CONTENT


def test_fetch_when_the_hub_stays_away_gives_up_and_says_with_what(tmp_path):
    with serve(Hub(behaviours=["500"])) as hub, pytest.raises(DownloadError) as caught:
        fetch(hub, tmp_path / "part")
    assert len(hub.requests) == HASTY.attempts
    assert caught.value.value == "HTTP status 500"
    assert hub.url in caught.value.detail


def test_fetch_when_bytes_keep_coming_does_not_count_the_interruptions(tmp_path):
    with serve(Hub(behaviours=["truncate"] * 5 + ["range"])) as hub:
        fetch(hub, tmp_path / "part")
    assert len(hub.requests) == 6  # more than are allowed in a row without anything new
    assert (tmp_path / "part").read_bytes() == CONTENT


@pytest.mark.parametrize("status", ["404", "403", "401"])
def test_fetch_when_the_hub_does_not_have_it_asks_once(tmp_path, status):
    with serve(Hub(behaviours=[status])) as hub, pytest.raises(DownloadError) as caught:
        fetch(hub, tmp_path / "part")
    assert len(hub.requests) == 1
    assert caught.value.value == f"HTTP status {status}"
    assert not (tmp_path / "part").exists()


def test_fetch_when_a_page_comes_instead_of_the_file_refuses_it(tmp_path):
    with serve(Hub(behaviours=["page"])) as hub, pytest.raises(DownloadError) as caught:
        fetch(hub, tmp_path / "part")
    assert caught.value.value == "text/html"
    assert not (tmp_path / "part").exists()


def test_fetch_when_nobody_listens_says_so(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        with pytest.raises(DownloadError) as caught:  # bound, but not listening: refused
            fetch_file(f"http://127.0.0.1:{port}/model.pt", tmp_path / "part", HASTY, lambda *_: None)
    assert "ConnectionRefusedError" in str(caught.value.value)
