"""Missing ends are found by the containers' own accounts."""

import struct

import numpy as np
import pytest

from matchka.modalities.audio.containers import missing_bytes
from tests.factories.samples import encoded, voice

CLIP = voice(1, seconds=2.0)
CONTAINERS = [("WAV", "PCM_16"), ("WAV", "FLOAT"), ("OGG", "OPUS"), ("OGG", "VORBIS"), ("MP3", None)]


def ogg_pages(data: bytes) -> list[int]:
    """Starts of the pages, found by their lacing values."""
    starts, position = [], 0
    while position < len(data):
        assert data[position : position + 4] == b"OggS"
        starts.append(position)
        count = data[position + 26]
        position += 27 + count + sum(data[position + 27 : position + 27 + count])
    return starts


@pytest.mark.parametrize(("kind", "subtype"), CONTAINERS)
@pytest.mark.parametrize("channels", [1, 2])
def test_missing_bytes_of_a_whole_file_is_zero(kind: str, subtype: str | None, channels: int):
    assert missing_bytes(encoded(np.column_stack([CLIP] * channels), kind=kind, subtype=subtype)) == 0


@pytest.mark.parametrize("lost", [1, 2, 3, 1000, 20_000])
def test_missing_bytes_of_a_wav_cut_short_is_what_was_cut(lost: int):
    assert missing_bytes(encoded(CLIP)[:-lost]) == lost


@pytest.mark.parametrize("lost", [1, 2, 3, 1000, 6000])
def test_missing_bytes_of_an_mp3_with_xing_header_cut_short_is_what_was_cut(lost: int):
    assert missing_bytes(encoded(CLIP, kind="MP3")[:-lost]) == lost


@pytest.mark.parametrize("tag_bytes", [0, 1, 127, 128, 5000])
def test_missing_bytes_of_an_mp3_behind_an_id3_tag_is_what_was_cut(tag_bytes: int):
    length = bytes(tag_bytes >> shift & 0x7F for shift in (21, 14, 7, 0))
    data = b"ID3\x04\x00\x00" + length + bytes(tag_bytes) + encoded(CLIP, kind="MP3")
    assert missing_bytes(data) == 0
    assert missing_bytes(data[:-77]) == 77


def test_missing_bytes_of_an_mp3_without_xing_header_is_zero():
    data = encoded(CLIP, kind="MP3")
    tag = data.find(b"Xing")
    assert tag > 0
    assert missing_bytes(data[:tag] + b"\0\0\0\0" + data[tag + 4 : -500]) == 0


@pytest.mark.parametrize("subtype", ["OPUS", "VORBIS"])
def test_missing_bytes_of_an_ogg_cut_anywhere_within_a_page_is_positive(subtype: str):
    data = encoded(CLIP, kind="OGG", subtype=subtype)
    starts = ogg_pages(data)
    for page in starts:
        for cut in (page + 4, page + 5, page + 26, page + 27, page + 28, page + 40):
            if cut < len(data):
                assert missing_bytes(data[:cut]) > 0, (page, cut)
    assert missing_bytes(data[:-1]) == 1


@pytest.mark.parametrize("subtype", ["OPUS", "VORBIS"])
def test_missing_bytes_of_an_ogg_without_its_last_page_is_positive(subtype: str):
    data = encoded(CLIP, kind="OGG", subtype=subtype)
    for page in ogg_pages(data)[1:]:
        assert missing_bytes(data[:page]) > 0


def test_missing_bytes_of_two_chained_ogg_streams_is_zero():
    data = encoded(CLIP, kind="OGG", subtype="VORBIS")
    assert missing_bytes(data + data) == 0
    assert missing_bytes(data + data[: ogg_pages(data)[-1]]) > 0


def test_missing_bytes_of_a_streamed_wav_without_length_is_zero():
    data = encoded(CLIP)
    at = data.index(b"data") + 4
    for length in (0xFFFFFFFF, 0x7FFFFFFF, 0):
        assert missing_bytes(data[:at] + struct.pack("<I", length) + data[at + 4 :]) == 0


def test_missing_bytes_of_a_wav_with_chunks_before_its_data_is_what_was_cut():
    data = encoded(CLIP)
    at = data.index(b"data")
    odd = b"LIST" + struct.pack("<I", 5) + b"hello\0"  # 5 bytes, padded to 6
    longer = data[:at] + odd + data[at:]
    assert missing_bytes(longer) == 0
    assert missing_bytes(longer[:-9]) == 9


@pytest.mark.parametrize("data", [b"", b"R", b"RIFF", b"ID3", b"ID3\x04\0\0\x7f\x7f\x7f\x7f"])
def test_missing_bytes_of_a_few_bytes_makes_no_statement(data: bytes):
    assert missing_bytes(data) == 0


@pytest.mark.parametrize(("data", "missing"), [(b"RIFF1234WAVE", 8), (b"RIFF1234WAVEdata", 4)])
def test_missing_bytes_of_a_header_that_is_cut_counts_the_rest_of_it(data: bytes, missing: int):
    assert missing_bytes(data) == missing
