"""Decoding against other implementations, windows against loops, and every way a clip can be unusable."""

import io
import math
import struct

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import resample as fourier_resample

from matchka.errors import (
    AudioTooLongError,
    EmptyFileError,
    MatchkaError,
    NonFiniteSamplesError,
    NoSamplesError,
    NotAudioError,
    SilenceError,
    TooLittleSpeechError,
    TruncatedFileError,
    UnsupportedSampleRateError,
)
from matchka.modalities.audio.activity import audible_seconds
from matchka.modalities.audio.decoding import AudioLimits, read_clip
from matchka.modalities.audio.level import level_gain
from matchka.modalities.audio.spec import AudioInputSpec
from matchka.modalities.audio.windows import split_windows
from tests.factories.bundles import CONTEXT, HOP, LEVEL_DBFS
from tests.factories.graphs import WINDOW
from tests.factories.samples import RATE_HZ, encoded, voice

LIMITS = AudioLimits(max_duration_s=60.0, min_speech_s=0.5)
SPEC = AudioInputSpec(
    sample_rate_hz=RATE_HZ, window_samples=WINDOW, hop_samples=HOP, context_samples=CONTEXT, level_dbfs=LEVEL_DBFS
)
LOSSLESS = [("WAV", "PCM_16"), ("WAV", "PCM_24"), ("WAV", "FLOAT"), ("WAV", "DOUBLE"), ("FLAC", "PCM_16")]
LOSSY = [("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", None)]
STEPS_16_BIT = 1.01 / 32768


def chord(rate_hz: int, seconds: float = 1.0) -> np.ndarray:
    """Three tones below 3.4 kHz that fade in and out, so that resamplers' edges do not enter."""
    time_s = np.arange(round(rate_hz * seconds)) / rate_hz
    fade = np.minimum(1.0, np.minimum(time_s, time_s[-1] - time_s) / 0.1)
    return fade * sum(0.1 * np.sin(2 * np.pi * f * time_s) for f in (310.0, 1250.0, 3100.0))


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """The largest normalised cross-correlation: 1 where b is a, whatever the gain and the codec's delay."""
    length = a.size + b.size
    crossed = np.fft.irfft(np.fft.rfft(a, length) * np.conj(np.fft.rfft(b, length)), length)
    return float(np.max(crossed) / np.sqrt(np.sum(a * a) * np.sum(b * b)))


@pytest.mark.parametrize(("kind", "subtype"), LOSSLESS)
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_read_clip_at_its_own_rate_is_the_mean_of_its_channels(kind: str, subtype: str, channels: int):
    rng = np.random.default_rng(channels)
    samples = np.clip(rng.normal(0, 0.1, (16001, channels)), -0.99, 0.99).astype(np.float32)
    found = read_clip(encoded(samples, RATE_HZ, kind, subtype), RATE_HZ, LIMITS)
    expected = [math.fsum(float(x) for x in frame) / channels for frame in samples]
    np.testing.assert_allclose(found, expected, atol=STEPS_16_BIT if subtype == "PCM_16" else 2e-7)


@pytest.mark.parametrize(("kind", "subtype"), LOSSLESS)
@pytest.mark.parametrize("rate_hz", [8000, 11025, 22050, 44100, 48000, 96000])
def test_read_clip_at_another_rate_is_the_same_sound(kind: str, subtype: str, rate_hz: int):
    found = read_clip(encoded(chord(rate_hz), rate_hz, kind, subtype), RATE_HZ, LIMITS)
    assert abs(found.size - RATE_HZ) <= 1
    # the Fourier method is another resampler, and the tones sampled at the target rate need none at all
    by_fourier = fourier_resample(chord(rate_hz), RATE_HZ)
    np.testing.assert_allclose(found[:RATE_HZ], by_fourier[: found.size], atol=2e-3)
    np.testing.assert_allclose(found[:RATE_HZ], chord(RATE_HZ)[: found.size], atol=2e-3)


@pytest.mark.parametrize(("kind", "subtype"), LOSSY)
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate_hz", [8000, 16000, 24000, 48000])
def test_read_clip_of_a_lossy_file_is_the_same_sound(kind: str, subtype: str | None, channels: int, rate_hz: int):
    samples = chord(rate_hz, 2.0)
    stereo = np.column_stack([samples, 0.5 * samples][:channels])
    data = encoded(stereo, rate_hz, kind, subtype)
    found = read_clip(data, RATE_HZ, LIMITS).astype(np.float64)
    # Opus at low rates keeps the sound but not every phase
    assert correlation(found, chord(RATE_HZ, 2.0)) > 0.96
    assert np.sqrt(np.mean(found**2) / np.mean(chord(RATE_HZ, 2.0) ** 2)) == pytest.approx(
        (1.0, 0.75)[channels - 1], rel=0.05
    )
    decoded, _ = soundfile.read(io.BytesIO(data), always_2d=True)
    by_fourier = fourier_resample(decoded.sum(axis=1) / channels, round(len(decoded) * RATE_HZ / rate_hz))
    inner = slice(500, min(found.size, by_fourier.size) - 500)
    assert np.sqrt(np.mean((found[inner] - by_fourier[inner]) ** 2)) < 0.01 * np.sqrt(np.mean(found**2))


def test_read_clip_of_a_tone_above_half_the_target_rate_leaves_no_alias():
    time_s = np.arange(48000) / 48000
    low, high = 0.1 * np.sin(2 * np.pi * 500 * time_s), 0.1 * np.sin(2 * np.pi * 11000 * time_s)
    found = read_clip(encoded(low + high, 48000, subtype="FLOAT"), RATE_HZ, LIMITS)
    spectrum = np.abs(np.fft.rfft(found[1000:15000] * np.hanning(14000)))
    alias, kept = round(5000 * 14000 / RATE_HZ), round(500 * 14000 / RATE_HZ)
    assert spectrum[alias - 3 : alias + 4].max() < 1e-4 * spectrum[kept - 3 : kept + 4].max()


@pytest.mark.parametrize("peak", [1.5, 30.0, 1e20])
def test_read_clip_of_floats_beyond_full_scale_is_scaled_to_it(peak: float):
    samples = voice(1)
    loud = samples / np.abs(samples).max()
    found = read_clip(encoded(loud * np.float32(peak), subtype="FLOAT"), RATE_HZ, LIMITS)
    np.testing.assert_allclose(found, loud, atol=1e-6)


def test_read_clip_of_floats_within_full_scale_is_left_as_it_is():
    samples = voice(1) / np.abs(voice(1)).max() * np.float32(0.999)
    np.testing.assert_array_equal(read_clip(encoded(samples, subtype="FLOAT"), RATE_HZ, LIMITS), samples)


def test_read_clip_of_a_thousand_channels_is_their_mean():
    samples = np.random.default_rng(5).normal(0, 0.2, (9000, 1024)).astype(np.float32)
    found = read_clip(encoded(samples, subtype="FLOAT"), RATE_HZ, LIMITS)
    np.testing.assert_allclose(found, np.add.reduce(samples.astype(np.float64), axis=1) / 1024, atol=1e-7)


def test_read_clip_longer_than_one_block_keeps_every_sample():
    samples = np.tile(voice(2), 6)
    many = np.repeat(samples[:, None], 32, axis=1)  # 96,000 frames of 32 channels: three blocks
    assert many.size > 2 * (1 << 20)
    np.testing.assert_allclose(read_clip(encoded(many, subtype="FLOAT"), RATE_HZ, LIMITS), samples, atol=1e-7)


def test_read_clip_of_a_streamed_wav_without_length_is_its_samples():
    data = encoded(voice(3), subtype="PCM_16")
    at = data.index(b"data") + 4
    found = read_clip(data[:at] + struct.pack("<I", 0xFFFFFFFF) + data[at + 4 :], RATE_HZ, LIMITS)
    np.testing.assert_allclose(found, voice(3), atol=STEPS_16_BIT)


@pytest.mark.parametrize(("kind", "subtype"), [*LOSSLESS, ("OGG", "VORBIS"), ("OGG", "OPUS")])
@pytest.mark.parametrize("kept", [0.001, 0.01, 0.3, 0.5, 0.9, 0.999])
def test_read_clip_of_a_file_cut_short_is_refused(kind: str, subtype: str, kept: float):
    data = encoded(voice(4, seconds=2.0), kind=kind, subtype=subtype)
    with pytest.raises(TruncatedFileError):
        read_clip(data[: int(len(data) * kept)], RATE_HZ, LIMITS)


@pytest.mark.parametrize("kept", [0.02, 0.3, 0.5, 0.9, 0.999])
def test_read_clip_of_an_mp3_cut_short_is_refused(kept: float):
    data = encoded(voice(4, seconds=2.0), kind="MP3")
    with pytest.raises(TruncatedFileError):
        read_clip(data[: int(len(data) * kept)], RATE_HZ, LIMITS)


@pytest.mark.parametrize(("kind", "subtype"), [*LOSSLESS, *LOSSY])
def test_read_clip_of_any_prefix_or_damage_raises_a_named_error_or_reads(kind: str, subtype: str | None):
    data = encoded(voice(5), kind=kind, subtype=subtype)
    rng = np.random.default_rng(11)
    for _ in range(25):
        broken = bytearray(data[: int(rng.integers(1, len(data)))] if rng.random() < 0.5 else data)
        for at in rng.integers(0, min(len(broken), 300), 3):
            broken[at] = int(rng.integers(256))
        try:
            found = read_clip(bytes(broken), RATE_HZ, LIMITS)
        except MatchkaError:
            continue
        assert np.all(np.isfinite(found))
        assert 0.4 * RATE_HZ < found.size <= 60.1 * RATE_HZ


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("at", [0, 7777, -1])
def test_read_clip_with_one_sample_not_finite_is_refused(bad: float, channels: int, at: int):
    samples = np.column_stack([voice(6)] * channels)
    samples[at, channels - 1] = bad
    with pytest.raises(NonFiniteSamplesError):
        read_clip(encoded(samples, subtype="FLOAT"), RATE_HZ, LIMITS)


@pytest.mark.parametrize(("kind", "subtype"), [("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("WAV", "FLOAT"), ("MP3", None)])
@pytest.mark.parametrize("level", [0.0, 1e-5])
def test_read_clip_of_silence_is_refused(kind: str, subtype: str | None, level: float):
    with pytest.raises(SilenceError, match="-70 dBFS"):
        read_clip(encoded(np.full(32000, level), kind=kind, subtype=subtype), RATE_HZ, LIMITS)


def test_read_clip_of_opposite_channels_is_silence():
    with pytest.raises(SilenceError):
        read_clip(encoded(np.column_stack([voice(7), -voice(7)]), subtype="FLOAT"), RATE_HZ, LIMITS)


@pytest.mark.parametrize(("seconds", "usable"), [(0.02, False), (0.3, False), (0.47, False), (0.52, True), (1.0, True)])
@pytest.mark.parametrize("rate_hz", [8000, 44100])
def test_read_clip_needs_half_a_second_of_speech(seconds: float, usable: bool, rate_hz: int):
    time_s = np.arange(round(seconds * rate_hz)) / rate_hz
    # a pause behind the word is no speech
    samples = np.concatenate([0.3 * np.sin(2 * np.pi * 440 * time_s), np.zeros(rate_hz)])
    data = encoded(samples, rate_hz, subtype="FLOAT")
    if usable:
        assert read_clip(data, RATE_HZ, LIMITS).size == pytest.approx((seconds + 1) * RATE_HZ, abs=2)
    else:
        with pytest.raises(TooLittleSpeechError, match=r"at least 0\.5 s"):
            read_clip(data, RATE_HZ, LIMITS)


@pytest.mark.parametrize(("rate_hz", "samples"), [(44_100, 1), (96_000, 2), (384_000, 11)])
def test_read_clip_of_samples_that_leave_none_at_the_models_rate_is_too_little_speech(rate_hz: int, samples: int):
    with pytest.raises(TooLittleSpeechError):
        read_clip(encoded(np.full(samples, 0.5), rate_hz), RATE_HZ, LIMITS)


def test_read_clip_of_a_single_sample_is_too_little_speech():
    with pytest.raises(TooLittleSpeechError, match=r"0\.00 s"):
        read_clip(encoded(np.array([0.9])), RATE_HZ, LIMITS)


@pytest.mark.parametrize(("kind", "subtype"), [("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("OGG", "OPUS"), ("MP3", None)])
def test_read_clip_of_61_seconds_is_refused_and_of_59_is_not(kind: str, subtype: str | None):
    clip = np.tile(voice(8), 61)[:, None]
    with pytest.raises(AudioTooLongError, match="longer than 60 s"):
        read_clip(encoded(clip, kind=kind, subtype=subtype), RATE_HZ, LIMITS)
    found = read_clip(encoded(clip[: 59 * RATE_HZ], kind=kind, subtype=subtype), RATE_HZ, LIMITS)
    assert found.size == pytest.approx(59 * RATE_HZ, abs=3000)


def test_read_clip_of_exactly_the_limit_is_read_and_one_sample_more_is_refused():
    limits = AudioLimits(1.0, 0.5)
    samples = voice(9, seconds=1.1)
    np.testing.assert_array_equal(
        read_clip(encoded(samples[:16000], subtype="FLOAT"), RATE_HZ, limits), samples[:16000]
    )
    with pytest.raises(AudioTooLongError):
        read_clip(encoded(samples[:16001], subtype="FLOAT"), RATE_HZ, limits)


@pytest.mark.parametrize(("rate_hz", "usable"), [(3999, False), (4000, True), (384_000, True), (384_001, False)])
def test_read_clip_at_the_edges_of_known_sample_rates(rate_hz: int, usable: bool):
    data = encoded(0.1 * np.sin(np.arange(rate_hz) * 2000 / rate_hz), rate_hz)
    if usable:
        assert read_clip(data, RATE_HZ, LIMITS).size == pytest.approx(RATE_HZ, abs=1)
    else:
        with pytest.raises(UnsupportedSampleRateError) as refused:
            read_clip(data, RATE_HZ, LIMITS)
        assert refused.value.value == str(rate_hz)


def test_read_clip_of_no_bytes_is_an_empty_file():
    with pytest.raises(EmptyFileError):
        read_clip(b"", RATE_HZ, LIMITS)


def test_read_clip_of_a_wav_without_samples_says_so():
    with pytest.raises(NoSamplesError):
        read_clip(encoded(np.zeros(0)), RATE_HZ, LIMITS)


@pytest.mark.parametrize(
    "data",
    [
        b"hello, this is no recording\n" * 100,
        b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(range(256)) * 20,
        b"\x89PNG\r\n\x1a\n" + bytes(1000),
        np.random.default_rng(1).bytes(50_000),
        b"ID3\x04\x00\x00\x00\x00\x00\x10" + np.random.default_rng(2).bytes(5000),
        bytes(10_000),
        b"R",
    ],
    ids=["text", "jpeg", "png", "random", "random behind ID3", "zeros", "one byte"],
)
def test_read_clip_of_bytes_that_are_no_audio_is_refused(data: bytes):
    with pytest.raises(NotAudioError):
        read_clip(data, RATE_HZ, LIMITS)


@pytest.mark.parametrize("kind", ["AIFF", "AU", "CAF", "W64"])
def test_read_clip_of_a_container_that_is_not_offered_is_refused(kind: str):
    with pytest.raises(NotAudioError):
        read_clip(encoded(voice(10), kind=kind), RATE_HZ, LIMITS)


def slow_windows(samples: np.ndarray, spec: AudioInputSpec) -> np.ndarray:
    """Sample by sample: windows start every hop, context_samples early, until one window's core reaches the end."""
    rms = math.sqrt(math.fsum(float(x) ** 2 for x in samples) / len(samples))
    gain = max(1.0, 10 ** (spec.level_dbfs / 20) / rms) if rms else 1.0
    windows, start = [], 0
    while True:
        window = []
        for i in range(spec.window_samples):
            at = start - spec.context_samples + i
            window.append(float(samples[at]) * gain if 0 <= at < len(samples) else 0.0)
        windows.append(window)
        if start + spec.window_samples - 2 * spec.context_samples >= len(samples):
            return np.array(windows)
        start += spec.hop_samples


@pytest.mark.parametrize(
    "length", [1, 2, 199, 200, 201, 1199, 1200, 1201, 1999, 2000, 2001, 2799, 2800, 2801, 4000, 7777]
)
def test_split_windows_at_odd_lengths_equals_slow_loop(length: int):
    samples = np.random.default_rng(length).normal(0, 0.01, length).astype(np.float32)
    before = samples.copy()
    np.testing.assert_allclose(split_windows(samples, SPEC), slow_windows(samples, SPEC), rtol=1e-5, atol=1e-8)
    np.testing.assert_array_equal(samples, before)


@given(st.integers(1, 90), st.integers(1, 30), st.integers(1, 20), st.integers(0, 7), st.sampled_from([0.5, 0.02, 0.0]))
def test_split_windows_of_any_rule_equals_slow_loop(length: int, core: int, hop: int, context: int, level: float):
    spec = AudioInputSpec(
        sample_rate_hz=RATE_HZ,
        window_samples=core + 2 * context,
        hop_samples=min(hop, core),  # a larger one would skip speech, and is refused
        context_samples=context,
        level_dbfs=-20.0,
    )
    samples = np.random.default_rng(length).normal(0, 1, length).astype(np.float32) * np.float32(level)
    np.testing.assert_allclose(split_windows(samples, spec), slow_windows(samples, spec), rtol=1e-5, atol=1e-8)


def test_split_windows_result_does_not_share_memory_with_the_clip():
    samples = voice(11) * np.float32(10)  # loud, so that no level is raised and a view would be possible
    windows = split_windows(samples, SPEC)
    first = samples.copy()
    windows[:] = 0.0
    np.testing.assert_array_equal(samples, first)
    assert windows.flags.owndata
    assert windows.flags.c_contiguous


@pytest.mark.parametrize("rms", [1e-4, 1e-3, 0.0316, 0.0317, 0.5])
def test_level_gain_raises_quiet_clips_to_minus_30_dbfs_and_leaves_loud_ones(rms: float):
    samples = np.random.default_rng(0).normal(size=8000)
    samples = (samples / np.sqrt(np.mean(samples**2)) * rms).astype(np.float32)
    found = samples * level_gain(samples, -30.0)
    reached = math.sqrt(math.fsum(float(x) ** 2 for x in found) / 8000)
    assert reached == pytest.approx(max(rms, 10**-1.5), rel=1e-5)
    assert found[17] / samples[17] == pytest.approx(reached / rms, rel=1e-5)


def test_level_gain_of_silence_and_of_nothing_is_one():
    assert level_gain(np.zeros(100, np.float32), -30.0) == 1.0
    assert level_gain(np.zeros(0, np.float32), -30.0) == 1.0


@pytest.mark.parametrize("size", [1, 1023, 1024, 1025, 5000, 48_000])
@pytest.mark.parametrize("offset", [0.0, 0.001])
def test_level_gain_of_any_length_equals_an_exact_sum(size: int, offset: float):
    samples = (np.random.default_rng(size).normal(0, 1e-4, size) + offset).astype(np.float32)
    exact = math.sqrt(math.fsum(float(x) ** 2 for x in samples) / size)
    assert level_gain(samples, -30.0) == pytest.approx(10**-1.5 / exact, rel=3e-7)


@pytest.mark.parametrize("rate_hz", [8000, 16000, 44100])
@pytest.mark.parametrize("quiet_db", [10.0, 25.0, 35.0, 60.0])
def test_audible_seconds_counts_frames_within_30_db_of_the_loud_ones(rate_hz: int, quiet_db: float):
    tone = 0.3 * np.sin(np.arange(rate_hz) * 0.3)
    clip = np.concatenate([tone, tone * 10 ** (-quiet_db / 20)]).astype(np.float32)
    expected = 2.0 if quiet_db < 30 else 1.0
    assert audible_seconds(clip, rate_hz) == pytest.approx(expected, abs=0.021)


def test_audible_seconds_of_a_short_word_in_a_long_pause_is_the_words_length():
    clip = np.zeros(30 * RATE_HZ, np.float32)
    clip[RATE_HZ : RATE_HZ + 4800] = 0.2 * np.sin(np.arange(4800) * 0.3)  # 0.3 s: fewer than 5 % of the frames
    assert audible_seconds(clip, RATE_HZ) == pytest.approx(0.3, abs=0.021)


def test_audible_seconds_of_less_than_a_frame_is_zero():
    assert audible_seconds(np.full(319, 0.5, np.float32), RATE_HZ) == 0.0
