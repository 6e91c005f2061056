"""Bodies that arrive slowly: a real server and a real socket."""

import json
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matchka.api.bodies import body
from matchka.settings import read_settings
from tests.factories.bundles import write_bundle
from tests.factories.small_server import serving, small_settings

TIMEOUT_S = 120


def test_body_that_arrives_too_slowly_is_refused_long_before_the_longest_upload(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(body, "GRACE_S", 0.2)
    write_bundle(tmp_path / "models" / "voice")
    with serving(small_settings(tmp_path, max_upload_s=3600, min_upload_kib_s=1000)) as running:
        host, port = running.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=TIMEOUT_S) as connection:
            connection.sendall(
                b"POST /v1/embed HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"
                b"Content-Length: 1000000\r\n\r\n--x"
            )
            answer = connection.recv(65536)
        assert answer.startswith(b"HTTP/1.1 408")
        problem = json.loads(answer.partition(b"\r\n\r\n")[2])
        assert (problem["code"], problem["value"]) == ("upload_timeout", "3 bytes in 0.2 s")
        assert "1000 KiB a second" in problem["detail"]


@given(kib_s=st.floats(0.5, 1000), received=st.integers(0, 50 << 20), longest_s=st.floats(0.1, 600))
def test_upload_bound_s_of_a_body_at_the_least_rate_is_never_reached_before_the_longest_time(
    kib_s: float, received: int, longest_s: float
):
    settings = read_settings({}, max_upload_s=longest_s, min_upload_kib_s=kib_s)
    arrived_after_s = received / (1024 * kib_s)
    bound_s = body.upload_bound_s(received, settings)
    assert bound_s == longest_s or bound_s == pytest.approx(arrived_after_s + body.GRACE_S)
    assert bound_s <= longest_s
