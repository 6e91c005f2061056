"""What a file is likely to cost, before it is read: by real files of known size, and by none."""

import io

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from matchka.modalities import MODALITIES
from matchka.modalities.audio.cost import MOST_S, stated_s
from matchka.modalities.face.cost import stated_size
from matchka.modalities.iq.modality import cost_s as iq_cost_s

BEGINNINGS = [
    *(b"", b"RIFF", b"RIFF....WEBPVP8 ", b"RIFF....WEBPVP8X", b"RIFF....WEBPVP8L", b"fLaC", b"OggS", b"ID3"),
    *(b"\xff\xfb", b"BM", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"OggS\x01vorbis", b"{}"),
]


def clip(container: str, subtype: str | None, seconds: int, rate_hz: int) -> bytes:
    written = io.BytesIO()
    noise = np.random.default_rng(seconds).normal(0, 0.1, seconds * rate_hz).astype(np.float32)
    soundfile.write(written, noise, rate_hz, format=container, subtype=subtype)
    return written.getvalue()


@pytest.mark.parametrize("seconds", [1, 20])
@pytest.mark.parametrize(
    ("container", "subtype", "rate_hz"),
    [
        ("WAV", None, 16_000),
        ("WAV", "FLOAT", 44_100),
        ("FLAC", None, 48_000),
        ("OGG", "VORBIS", 22_050),
        ("OGG", "OPUS", 16_000),
    ],
)
def test_stated_s_of_a_clip_is_its_length(container: str, subtype: str | None, rate_hz: int, seconds: int):
    assert stated_s(clip(container, subtype, seconds, rate_hz)) == pytest.approx(seconds, rel=0.02)


def test_stated_s_of_an_mp3_grows_with_its_length():
    short, long = (stated_s(clip("MP3", None, seconds, 16_000)) for seconds in (2, 40))
    assert 0.3 * 2 < short < 3 * 2
    assert 0.3 * 40 < long < 3 * 40


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        *(("JPEG", {}), ("JPEG", {"progressive": True}), ("PNG", {}), ("BMP", {})),
        *(("WEBP", {}), ("WEBP", {"lossless": True}), ("WEBP", {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\0"})),
    ],
)
def test_stated_size_of_a_picture_is_its_size(kind: str, options: dict[str, object]):
    written = io.BytesIO()
    noise = np.random.default_rng(1).integers(0, 255, (150, 211, 3), dtype=np.uint8)
    Image.fromarray(noise).save(written, kind, **options)
    assert stated_size(written.getvalue()) == (211, 150)


def test_stated_size_of_a_jpeg_with_a_thumbnail_is_that_of_the_picture():
    thumbnail, written = io.BytesIO(), io.BytesIO()
    Image.new("RGB", (16, 16)).save(thumbnail, "JPEG")
    Image.new("RGB", (400, 300)).save(written, "JPEG", exif=b"Exif\0\0" + thumbnail.getvalue())
    assert stated_size(written.getvalue()) == (400, 300)


@given(beginning=st.sampled_from(BEGINNINGS), rest=st.binary(max_size=200))
def test_cost_s_of_any_bytes_is_a_finite_time(beginning: bytes, rest: bytes):
    for modality in MODALITIES.values():
        assert 0 < modality.cost_s(beginning + rest) < MOST_S


def test_cost_s_of_a_recording_grows_with_its_bytes():
    assert iq_cost_s(bytes(2_000_000)) - iq_cost_s(bytes(1_000_000)) == pytest.approx(0.015)
