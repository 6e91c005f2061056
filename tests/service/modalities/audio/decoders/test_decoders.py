"""Clips in WebM and MP4 against the same samples in FLAC and WAV, which libsndfile reads."""

import io
import socket
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

from matchka.errors import (
    AudioTooLongError,
    DeadlinePassedError,
    FormatNotEnabledError,
    MatchkaError,
    NoSamplesError,
    NotAudioError,
    TruncatedFileError,
    UnsupportedSampleRateError,
)
from matchka.modalities.audio.decoders.mp4 import require_modest_headers, without_indices
from matchka.modalities.audio.decoders.table import EXTRA_FORMATS
from matchka.modalities.audio.decoders.webm import EBML, missing_in_webm
from matchka.modalities.audio.decoding import AudioLimits, read_clip
from matchka.runtime.deadline import Deadline, working_for
from tests.factories.further_formats import MISSING, box, element, encoded_by_ffmpeg
from tests.factories.samples import encoded, voice

RATE_HZ = 16_000
BOTH = AudioLimits(60.0, 0.1, ("webm", "mp4"))


def made(
    kind: str, codec: str, rate_hz: int = 48_000, seconds: float = 1.0, channels: int = 1, **options: object
) -> bytes:
    samples = np.resize(voice(3, seconds=3.0), round(rate_hz * seconds))
    return encoded_by_ffmpeg(np.tile(samples, (channels, 1)), rate_hz, kind, codec, **options)


FRAGMENTED = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
MADE = {
    "browser": lambda: made("webm", "libopus", live=1),
    "webm": lambda: made("webm", "libopus"),
    "aac": lambda: made("mp4", "aac"),
    "alac": lambda: made("ipod", "alac", RATE_HZ),
    "fragments": lambda: made("mp4", "aac", **FRAGMENTED),
    "opus in mp4": lambda: made("mp4", "libopus"),
}


@pytest.mark.parametrize("rate_hz", [16_000, 44_100])
@pytest.mark.parametrize("channels", [1, 2])
def test_read_clip_of_alac_gives_what_libsndfile_reads_of_the_same_samples_in_wav(rate_hz: int, channels: int) -> None:
    rows = np.stack(
        [np.round(np.resize(voice(person, seconds=2.0), rate_hz) * 2**15) / 2**15 for person in range(channels)]
    )
    expected = read_clip(encoded(rows.T, rate_hz, subtype="PCM_16"), RATE_HZ, BOTH)
    found = read_clip(encoded_by_ffmpeg(rows, rate_hz, "ipod", "alac"), RATE_HZ, BOTH)
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize(("kind", "codec"), [("webm", "libopus"), ("mp4", "libopus"), ("mp4", "aac")])
def test_read_clip_of_a_lossy_codec_is_the_clip_but_for_what_its_encoder_changed(kind: str, codec: str) -> None:
    samples = np.convolve(np.random.default_rng(4).normal(size=96_000), np.ones(16) / 80, "same").astype(np.float32)
    expected = read_clip(encoded(samples, 48_000, subtype="FLOAT"), RATE_HZ, BOTH)
    found = read_clip(encoded_by_ffmpeg(samples, 48_000, kind, codec), RATE_HZ, BOTH)
    lags = np.correlate(found[: RATE_HZ + 2_000], expected[:RATE_HZ], "valid")
    delay = int(np.argmax(lags))  # AAC's first frame is the encoder's own
    part, same = found[delay : delay + RATE_HZ], expected[:RATE_HZ]
    assert delay in (0, 341)
    assert np.corrcoef(part, same)[0, 1] > 0.95
    assert len(found) == pytest.approx(len(expected), abs=1_024)


@pytest.mark.parametrize("name", MADE)
def test_read_clip_of_a_further_format_that_is_not_named_is_refused_with_the_extra_and_the_setting(name: str) -> None:
    with pytest.raises(FormatNotEnabledError) as refused:
        read_clip(MADE[name](), RATE_HZ, AudioLimits(60.0, 0.1))
    assert "matchka[formats]" in refused.value.remedy
    assert "MATCHKA_AUDIO__FORMATS=" in refused.value.remedy


@pytest.mark.parametrize("start", [EBML, bytes(4) + b"ftypM4A "])
def test_read_clip_of_a_header_alone_is_known_where_no_library_is(start: bytes) -> None:
    with pytest.raises(FormatNotEnabledError):
        read_clip(start + bytes(1000), RATE_HZ, AudioLimits(60.0, 0.1))


def test_each_format_is_decided_by_its_own_name() -> None:
    for name, other in (("webm", "alac"), ("alac", "webm")):
        enabled = AudioLimits(60.0, 0.1, ({"webm": "webm", "alac": "mp4"}[name],))
        assert read_clip(MADE[name](), RATE_HZ, enabled).size > 0
        with pytest.raises(FormatNotEnabledError):
            read_clip(MADE[other](), RATE_HZ, enabled)


@pytest.mark.parametrize("name", MADE)
def test_read_clip_of_every_cut_of_a_further_format_is_refused(name: str) -> None:
    whole = MADE[name]()
    for length in np.random.default_rng(5).integers(12, len(whole) - 1, 25):
        try:
            read_clip(whole[:length], RATE_HZ, BOTH)
        except (TruncatedFileError, NotAudioError, NoSamplesError):
            continue
        assert name in ("browser", "fragments")  # where a cut between two blocks or fragments leaves a whole file


@pytest.mark.parametrize("name", MADE)
def test_read_clip_of_changed_bytes_is_a_clip_or_refused_by_name(name: str) -> None:
    whole, rng = MADE[name](), np.random.default_rng(6)
    for _ in range(40):
        data = np.frombuffer(whole, np.uint8).copy()
        places = rng.integers(0, min(len(data), 2_000) if rng.random() < 0.5 else len(data), rng.integers(1, 8))
        data[places] = rng.integers(0, 256, len(places))
        try:
            samples = read_clip(data.tobytes(), RATE_HZ, BOTH)
        except MatchkaError:
            continue
        assert samples.dtype == np.float32
        assert np.isfinite(samples).all()
        assert samples.size <= 60 * RATE_HZ + 1


@pytest.mark.parametrize("name", MADE)
def test_read_clip_stops_at_the_limit_whatever_the_file_states(name: str) -> None:
    with pytest.raises(AudioTooLongError, match=r"longer than 0\.5 s"):
        read_clip(MADE[name](), RATE_HZ, AudioLimits(0.5, 0.1, BOTH.formats))


def test_read_clip_of_hours_in_a_small_file_is_refused_as_too_long() -> None:
    silent = encoded_by_ffmpeg(
        np.zeros(48_000 * 120, np.float32), 48_000, "webm", "libopus", cluster_size_limit=100_000
    )
    with pytest.raises(AudioTooLongError):
        read_clip(silent, RATE_HZ, BOTH)


def test_read_clip_of_a_rate_that_no_card_records_is_refused() -> None:
    data = made("mp4", "alac", 3_000)
    with pytest.raises(UnsupportedSampleRateError):
        read_clip(data, RATE_HZ, BOTH)


@pytest.mark.parametrize(("kind", "pictures", "sound"), [("webm", "libvpx", "libopus"), ("mp4", "mpeg4", "aac")])
def test_read_clip_of_a_film_gives_its_sound(kind: str, pictures: str, sound: str) -> None:
    alone = made(kind, sound)
    film = made(kind, sound, pictures=pictures)
    assert len(film) > len(alone)
    np.testing.assert_array_equal(read_clip(film, RATE_HZ, BOTH), read_clip(alone, RATE_HZ, BOTH))


@pytest.mark.parametrize("codec", ["pcm_s16le", "libmp3lame"])
def test_read_clip_of_another_codec_is_refused(codec: str) -> None:
    data = made("matroska", codec)
    with pytest.raises(NotAudioError):
        read_clip(data, RATE_HZ, BOTH)


def test_read_clip_of_a_request_that_is_given_up_ends() -> None:
    data, times = made("webm", "libopus"), iter([0.0, 0.5, *[2.0] * 10_000])
    with pytest.raises(DeadlinePassedError), working_for(Deadline(1.0, clock=lambda: next(times))):
        read_clip(data, RATE_HZ, BOTH)


def alias(path: bytes) -> bytes:
    """A data reference of QuickTime that names another file, as FFmpeg's demuxer reads it."""
    head = bytes(4 + 10 + 28 + 12) + b"\x05a.mp4".ljust(64, b"\0") + bytes(16) + struct.pack(">hh", 1, 1) + bytes(16)
    padded = path + bytes(len(path) % 2)
    return box(b"alis", (head + struct.pack(">hh", 2, len(path)) + padded + b"\xff\xff\0\0").ljust(240, b"\0"))


def with_reference(path: bytes) -> bytes:
    """A clip that says its samples lie elsewhere."""
    data, itself, away = made("mp4", "alac", RATE_HZ), b"\0\0\0\x0curl \0\0\0\x01", alias(path)
    assert data.count(itself) == 1
    data = data.replace(itself, away)
    for name in (b"moov", b"trak", b"mdia", b"minf", b"dinf", b"dref"):
        at = data.find(name) - 4
        size = int.from_bytes(data[at : at + 4], "big") + len(away) - len(itself)
        data = data[:at] + size.to_bytes(4, "big") + data[at + 4 :]
    return data


def test_read_clip_of_samples_that_lie_elsewhere_reads_no_file_and_asks_no_address(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere.mp4"
    elsewhere.write_bytes(made("mp4", "alac", RATE_HZ))
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        for path in (str(elsewhere), f"file:{elsewhere}", f"http://127.0.0.1:{server.getsockname()[1]}/a.mp4"):
            with pytest.raises((NoSamplesError, NotAudioError, TruncatedFileError)):
                read_clip(with_reference(path.encode()), RATE_HZ, BOTH)
        with pytest.raises(BlockingIOError):  # nobody has connected
            server.accept()


def test_a_reference_that_is_not_followed_is_one_that_ffmpeg_would_follow() -> None:
    av = pytest.importorskip("av", reason=MISSING)
    asked: list[str] = []

    def open_other(url: str, _flags: int, _options: object) -> None:
        asked.append(url)
        raise PermissionError

    options = {"enable_drefs": "1", "use_absolute_path": "1"}
    file = io.BytesIO(with_reference(b"/tmp/elsewhere.mp4"))
    with pytest.raises(PermissionError), av.open(file, format="mov", options=options, io_open=open_other):
        pass
    assert [Path(url).name for url in asked] == ["elsewhere.mp4"]


def deflated(packet: bytes) -> bytes:
    """WebM of one packet that is compressed in the file."""
    head = b"OpusHead" + struct.pack("<BBHIhB", 1, 1, 0, 48_000, 0, 0)
    encoding = element(0x6D80, element(0x6240, element(0x5034, element(0x4254, b"\0"))))
    audio = element(0xE1, element(0xB5, struct.pack(">d", 48_000)) + element(0x9F, b"\1"))
    track = element(0xD7, b"\1") + element(0x73C5, b"\1") + element(0x83, b"\2") + element(0x86, b"A_OPUS")
    tracks = element(0x1654AE6B, element(0xAE, track + element(0x63A2, head) + audio + encoding))
    cluster = element(0x1F43B675, element(0xE7, b"\0") + element(0xA3, b"\x81\0\0\x80" + zlib.compress(packet)))
    header = element(0x1A45DFA3, element(0x4282, b"webm"))
    return header + element(0x18538067, element(0x1549A966, element(0x2AD7B1, b"\x0f\x42\x40")) + tracks + cluster)


def test_read_clip_of_a_packet_that_is_larger_than_the_file_is_refused() -> None:
    pytest.importorskip("av", reason=MISSING)
    assert len(deflated(bytes(5_000_000))) < 10_000
    with pytest.raises(TruncatedFileError) as refused:
        read_clip(deflated(bytes(5_000_000)), RATE_HZ, BOTH)
    assert refused.value.value == "packets larger than the file"


BOMBS = {
    "samples of one size": box(b"stsz", bytes(4), (1).to_bytes(4, "big"), (2**28).to_bytes(4, "big")),
    "a run of fragments": box(b"trun", bytes(4), (2**27).to_bytes(4, "big")),
    "groups": box(b"stsc", bytes(4), (1).to_bytes(4, "big"), (1).to_bytes(4, "big"), b"\x7f" * 4, bytes(4)),
    "many small": box(b"stz2", bytes(8), (40_000).to_bytes(4, "big")) * 2,
    "chunks": box(b"stco", bytes(4), (70_000).to_bytes(4, "big")),
    "hidden in another": box(b"free", b"stsz", box(b"stsz", bytes(8), (2**28).to_bytes(4, "big"))),
    "deflated": box(b"cmov", bytes(16)),
}


@pytest.mark.parametrize("name", BOMBS)
def test_require_modest_headers_of_one_that_states_what_no_clip_has_is_refused(name: str) -> None:
    with pytest.raises(NotAudioError, match="states more samples"):
        require_modest_headers(box(b"ftyp", b"M4A ") + box(b"moov", BOMBS[name]), 60_000)


def test_require_modest_headers_looks_into_no_samples() -> None:
    require_modest_headers(box(b"mdat", BOMBS["samples of one size"]), 60_000)


def test_without_indices_leaves_no_list_of_fragments_and_no_open_length_but_all_samples() -> None:
    samples = b"sidx" + BOMBS["a run of fragments"]
    data = box(b"ftyp", b"M4A ") + box(b"sidx", bytes(40)) + box(b"moov", box(b"sidx", bytes(8)))
    found = without_indices(data + bytes(4) + b"mdat" + samples)
    assert found == data.replace(b"sidx", b"free") + box(b"mdat", samples)


def test_read_clip_of_fragments_with_an_index_is_the_clip() -> None:
    indexed = made("mp4", "aac", movflags=FRAGMENTED["movflags"] + "+dash")
    assert b"sidx" in indexed
    np.testing.assert_array_equal(read_clip(indexed, RATE_HZ, BOTH), read_clip(MADE["fragments"](), RATE_HZ, BOTH))


def test_read_clip_of_alac_that_states_packets_of_too_many_samples_is_refused() -> None:
    data = MADE["alac"]()
    at = data.rfind(b"alac") + 8
    with pytest.raises(NotAudioError, match="16777216"):
        read_clip(data[:at] + (1 << 24).to_bytes(4, "big") + data[at + 4 :], RATE_HZ, BOTH)


@pytest.mark.parametrize("head", [b"\0\0\0\x07moov", b"\0\0\0\x01moov" + bytes(8), b"\0\0\0\x01moo", b"moo"])
def test_require_modest_headers_of_a_box_without_a_size_is_refused(head: bytes) -> None:
    with pytest.raises(TruncatedFileError):
        require_modest_headers(head, 60_000)


def test_missing_in_webm_of_elements_that_are_whole_is_none_and_else_what_lacks() -> None:
    block = element(0xA3, bytes(50))
    whole = element(0x1A45DFA3, b"head") + element(0x18538067, element(0x1F43B675, block))
    live = element(0x1A45DFA3, b"head") + b"\x18\x53\x80\x67\xff" + b"\x1f\x43\xb6\x75\x01" + b"\xff" * 7 + block
    for data in (whole, live):
        assert missing_in_webm(data) == 0
        assert missing_in_webm(data[:-7]) == 7


def test_missing_in_webm_of_any_bytes_ends() -> None:
    rng = np.random.default_rng(8)
    for length in range(200):
        assert missing_in_webm(EBML + rng.bytes(length)) >= 0
    assert missing_in_webm(b"\x80\x80" * 200_000) == 0


def test_extra_formats_of_audio_are_told_apart_by_how_they_begin() -> None:
    for name, kind in (("browser", "webm"), ("alac", "mp4")):
        assert [known.name for known in EXTRA_FORMATS if known.begins(MADE[name]())] == [kind]
