"""Inputs that once broke the service: odd containers, charsets, proxies, environments, half-sent forms."""

import socket
import struct
import time
import tracemalloc

import numpy as np
import pytest
import requests
from pydantic import ValidationError

from matchka import errors
from matchka.api.guards.key_ring import KeyRing
from matchka.bundles.outputs.measurements import DimReport
from matchka.client import Client
from matchka.modalities import read_limits
from matchka.modalities.audio.decoding import AudioLimits, read_clip
from matchka.settings import read_settings
from matchka.store.store import opened_store
from tests.factories.bundles import dim_report, write_bundle
from tests.factories.samples import RATE_HZ, encoded, sample, voice
from tests.factories.small_server import serving, small_settings

LIMITS = AudioLimits(60.0, 0.5)


@pytest.fixture
def small(tmp_path):
    write_bundle(tmp_path / "models" / "voice")
    with serving(small_settings(tmp_path)) as s:
        yield s


def test_flac_streamed_by_an_encoder_that_cannot_seek_back_is_read():
    data = bytearray(encoded(voice(1), kind="FLAC", subtype="PCM_16"))
    data[21] &= 0xF0  # STREAMINFO total_samples = 0: "unknown", what `flac -` and ffmpeg write to a pipe
    data[22:26] = bytes(4)
    assert read_clip(bytes(data), RATE_HZ, LIMITS).size == 16000


@pytest.mark.parametrize("subtype", ["OPUS", "VORBIS"])
@pytest.mark.parametrize("more", [1, 2, 3])
def test_ogg_cut_within_the_magic_of_its_last_page_is_refused(subtype, more):
    data = encoded(voice(1, seconds=4.0), kind="OGG", subtype=subtype)
    with pytest.raises(errors.TruncatedFileError):
        read_clip(data[: data.rindex(b"OggS") + more], RATE_HZ, LIMITS)


def test_inf_and_minus_inf_in_one_frame_warn_nothing():
    s = np.column_stack([voice(1), voice(1)])
    s[5] = np.inf, -np.inf
    with pytest.raises(errors.NonFiniteSamplesError):
        read_clip(encoded(s, subtype="FLOAT"), RATE_HZ, LIMITS)


def test_webp_image_is_not_audio():
    with pytest.raises(errors.NotAudioError):
        read_clip(b"RIFF" + struct.pack("<I", 2000) + b"WEBPVP8 " + bytes(1992), RATE_HZ, LIMITS)


def test_wav_cut_within_its_data_header_is_truncated():
    d = encoded(voice(1), subtype="PCM_16")
    with pytest.raises(errors.TruncatedFileError):
        read_clip(d[: d.index(b"data") + 7], RATE_HZ, LIMITS)


def test_memory_of_a_small_file_at_384_khz_is_bounded():
    x = np.zeros(384_000 * 60, np.int16)
    x[::2] = 300
    data = encoded(x, 384_000, "FLAC")
    del x
    tracemalloc.start()
    read_clip(data, RATE_HZ, LIMITS)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 250e6, peak


def test_add_templates_of_none_leaves_nothing_behind(tmp_path):
    with opened_store(f"sqlite:///{tmp_path}/s") as store:
        with pytest.raises(errors.StoreError):
            store.add_templates("t", "ada", "voice", "1", np.empty((0, 4), np.float32))
        assert store.subjects("t", 5, None) == []


def test_times_carry_their_zone(tmp_path):
    with opened_store(f"sqlite:///{tmp_path}/s") as store:
        store.add_templates("t", "ada", "voice", "1", np.ones((1, 4), np.float32))
        assert store.subject("t", "ada").created_at.utcoffset() is not None
        assert store.subjects("t", 1, None)[0].created_at.utcoffset() is not None


def test_deleted_embedding_is_in_no_file_when_delete_returns(tmp_path):
    row = np.random.default_rng(0).normal(size=(1, 256)).astype(np.float32)
    with opened_store(f"sqlite:///{tmp_path}/s") as store:
        store.add_templates("t", "ada", "voice", "1", row)
        store.delete_subject("t", "ada")
        assert not [f.name for f in tmp_path.iterdir() if row.tobytes() in f.read_bytes()]


def test_read_settings_of_a_given_environment_reads_no_other(monkeypatch):
    monkeypatch.setenv("MATCHKA_PORT", "9000")
    assert read_settings({}).port == 8000


@pytest.mark.parametrize("name", ["MAX_BODY_MIB", "AUDIO__MAX_S", "AUDIO__MIN_SPEECH_S"])
def test_infinite_limits_are_refused(name):
    with pytest.raises(errors.SettingsError, match=f"MATCHKA_{name}: "):
        read_limits(read_settings({f"MATCHKA_{name}": "inf"}).modalities)


@pytest.mark.parametrize("key", ["0123456789abcdef\n", " 0123456789abcdef", "0123456789abcdeé\u4e2d"])
def test_a_key_no_header_can_carry_is_refused_or_works(key):
    try:
        settings = read_settings({"MATCHKA_API_KEY": key})
        settings.require_key_beyond_loopback()
    except errors.MatchkaError:
        return
    KeyRing(settings).grant_of(f"Bearer {key.strip()}")
    key.strip().encode("latin-1")


def test_wait_until_ready_of_a_silent_port_ends_in_time():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        started = time.monotonic()
        with pytest.raises(errors.ServiceUnreachableError):
            Client(f"http://127.0.0.1:{s.getsockname()[1]}", timeout_s=240).wait_until_ready(0.3)
        assert time.monotonic() - started < 120  # far more than it may wait, and half of what one answer may take


def test_loopback_is_reached_past_a_proxy(small, monkeypatch):
    for n in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(n, "http://127.0.0.1:9")
    for n in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(n, raising=False)
    assert Client(small.url).models().models


def test_embed_of_no_samples_says_so(small):
    with pytest.raises(errors.MatchkaError) as e:
        small.client().embed([])
    assert getattr(e.value, "code", "missing_field") == "missing_field"


def post(s, body, ct="multipart/form-data; boundary=x", path="/v1/embed"):
    return requests.post(s.url + path, data=body, headers={"Content-Type": ct}, timeout=120)


@pytest.mark.parametrize("charset", ["utf-7", "unicode_escape", "idna", "punycode", "hex", "utf-16"])
def test_odd_charsets_are_answered_with_a_problem(small, charset):
    text = {"utf-7": b"+2AA-", "unicode_escape": b"\\ud800"}.get(charset, b"\xff\xfe\xd8xn--a\x80")
    body = (
        b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\n'
        + text
        + b'\r\n--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nxx\r\n--x--\r\n'
    )
    r = post(small, body, f"multipart/form-data; boundary=x; charset={charset}")
    assert 400 <= r.status_code < 500, r.text


def test_405_names_the_allowed_methods(small):
    assert requests.get(small.url + "/v1/embed", timeout=120).headers.get("allow") == "POST"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"garbage",
        b"--y\r\n",
        b"--x",
        b"--x\r\n",
        b"--x\r\nA: b\r\n\r\n",
        b"--x\r\nContent-Disposition: form-data\r\n\r\na\r\n--x--\r\n",
        b"--x\r\n\r\n\r\n\x00--x--",
    ],
)
def test_malformed_multipart_is_a_malformed_form(small, body):
    assert post(small, body).json()["code"] == "malformed_form"


def test_form_that_ends_within_a_file_enrols_nothing(small):
    def part(n, v, f=""):
        return f'--x\r\nContent-Disposition: form-data; name="{n}"{f}\r\n\r\n'.encode() + v

    fn = '; filename="a.wav"'
    body = (
        part("model", b"voice\r\n")
        + part("subject_id", b"half\r\n")
        + part("file", sample(1) + b"\r\n", fn)
        + part("file", sample(1, 1)[:9000], fn)
    )
    r = post(small, body, path="/v1/enroll")
    assert r.json().get("code") == "malformed_form", r.text
    assert small.client().subjects().subjects == []


def test_client_that_goes_away_is_no_internal_error(small):
    host, port = small.url[7:].split(":")
    with socket.create_connection((host, int(port))) as c:
        c.sendall(
            b"POST /v1/embed HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"
            b"Content-Length: 1000\r\n\r\n--x"
        )
        time.sleep(0.2)
    time.sleep(0.3)
    text = requests.get(small.url + "/metrics", timeout=120).text
    assert 'status="500"' not in text, text


@pytest.mark.parametrize(
    "points",
    [
        {"1": [(0.1, 0.5, True)], "many": [(0.1, 0.5, True)]},
        {"1": [(0.1, 0.5, True)], "03": [(0.1, 0.5, True)]},
        {"1": [(0.1, 0.9, True), (0.01, 0.5, True)]},
        {"1": [(0.1, 0.5, True)], "0": [(0.1, 0.5, True)]},
    ],
)
def test_operating_points_that_cannot_be_used_are_refused(points):
    made = dim_report()
    made["operating_points"] = {
        c: [{"fmr": f, "threshold": t, "measured": m} for f, t, m in p] for c, p in points.items()
    }
    with pytest.raises(ValidationError):
        DimReport.model_validate(made)


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:"])
def test_database_in_memory_is_refused(url):
    with pytest.raises(errors.StoreError, match="in memory"), opened_store(url):
        pass
