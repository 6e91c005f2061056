"""The detector of speech against the network run frame by frame, on real voices and on sounds that are none."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from rich.console import Console

from matchka.errors import NoSpeechError
from matchka.inference.session import open_ort_session
from matchka.modalities.audio.decoding import AudioLimits, read_clip
from matchka.modalities.audio.speech_activity import (
    SAMPLE_RATE_HZ,
    SpeechDetector,
    audible_bins,
    is_narrow,
    power_spectra,
)
from matchka_train.errors import DownloadError
from matchka_train.weights.package_catalogue import SILERO_VAD, SPEECH_ACTIVITY_GRAPH
from matchka_train.weights.packages import fetch_package, read_archived, read_member
from tests.factories.checkout import ROOT
from tests.factories.not_speech import MAKERS, at_level, sounds

DOWNLOADS = ROOT / "build" / "downloads"
QUIET = Console(quiet=True)
LIMITS = AudioLimits(max_duration_s=60.0, min_speech_s=0.1)
MIN_SPEECH_S = 0.5
STREAMING_GRAPH = "silero_vad/data/silero_vad_16k_op15.onnx"  # another export of the network: one frame a run


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> SpeechDetector:
    path = tmp_path_factory.mktemp("speech") / "speech.onnx"
    try:
        path.write_bytes(read_member(SPEECH_ACTIVITY_GRAPH, DOWNLOADS, QUIET))
    except DownloadError as error:
        pytest.skip(f"the detector of speech is neither in the cache nor to be fetched: {error}")
    return SpeechDetector(open_ort_session(path, threads=1))


@pytest.fixture(scope="module")
def streaming(detector: SpeechDetector) -> onnxruntime.InferenceSession:
    del detector  # its package is there, or the test is skipped
    graph = read_archived(fetch_package(SILERO_VAD, DOWNLOADS, QUIET), [STREAMING_GRAPH])[STREAMING_GRAPH]
    return onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])


@pytest.fixture(scope="module")
def clips(voice_samples: Path) -> list[np.ndarray]:
    paths = sorted(voice_samples.rglob("*.wav"))
    assert len(paths) >= 15
    return [read_clip(path.read_bytes(), SAMPLE_RATE_HZ, LIMITS) for path in paths]


def frame_by_frame(streaming: onnxruntime.InferenceSession, samples: np.ndarray) -> list[float]:
    """How the package's own loop runs the network: 64 samples of the frame before, a state, the sample rate."""
    state, context, found = np.zeros((2, 1, 128), np.float32), np.zeros(64, np.float32), []
    for start in range(0, samples.size, 512):
        frame = np.zeros(512, np.float32)
        part = samples[start : start + 512]
        frame[: part.size] = part
        feed = {"input": np.concatenate([context, frame])[None], "state": state, "sr": np.array(16000, np.int64)}
        probability, state = streaming.run(None, feed)
        found.append(float(probability[0, 0]))
        context = frame[-64:]
    return found


@pytest.mark.parametrize("length", [1, 511, 512, 513, 16_384, 16_385, 70_003])
def test_probabilities_of_any_length_are_those_of_the_network_frame_by_frame(
    detector: SpeechDetector, streaming: onnxruntime.InferenceSession, clips: list[np.ndarray], length: int
):
    samples = np.concatenate(clips)[3000 : 3000 + length]
    assert samples.size == length
    np.testing.assert_allclose(detector.probabilities(samples), frame_by_frame(streaming, samples), atol=2e-5)


def test_probabilities_of_nothing_are_none(detector: SpeechDetector):
    assert detector.probabilities(np.zeros(0, np.float32)).shape == (0,)


def test_every_sample_of_a_voice_passes(detector: SpeechDetector, clips: list[np.ndarray]):
    for clip in clips:
        detector.require_speech(clip, MIN_SPEECH_S)


@pytest.mark.parametrize("level_dbfs", [-60.0, -45.0, -15.0])
def test_every_sample_of_a_voice_passes_at_any_level(
    detector: SpeechDetector, clips: list[np.ndarray], level_dbfs: float
):
    for clip in clips:
        detector.require_speech(at_level(clip.astype(np.float64), level_dbfs), MIN_SPEECH_S)


@pytest.mark.parametrize("name", MAKERS)
def test_sound_that_is_no_voice_is_refused_at_any_length_and_level(detector: SpeechDetector, name: str):
    for sound in sounds(12, 4, {name: MAKERS[name]}):
        with pytest.raises(NoSpeechError):
            detector.require_speech(sound.samples, MIN_SPEECH_S)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["modulated tone", "fading hum of two mains"])
def test_tones_that_swell_or_beat_are_refused_although_the_network_takes_some_for_a_voice(
    detector: SpeechDetector, name: str
):
    taken = 0
    for sound in sounds(5, 40, {name: MAKERS[name]}):
        taken += np.count_nonzero(detector.probabilities(sound.samples) >= 0.7) * 0.032 >= MIN_SPEECH_S
        with pytest.raises(NoSpeechError):
            detector.require_speech(sound.samples, MIN_SPEECH_S)
    assert taken > 0


def test_speech_behind_much_noise_is_found(detector: SpeechDetector, clips: list[np.ndarray]):
    noise = np.random.default_rng(1).normal(0, 0.003, 20 * SAMPLE_RATE_HZ).astype(np.float32)
    detector.require_speech(np.concatenate([noise, clips[0]]), MIN_SPEECH_S)
    with pytest.raises(NoSpeechError):
        detector.require_speech(noise, MIN_SPEECH_S)


def test_refusal_says_how_much_speech_there_is(
    detector: SpeechDetector, streaming: onnxruntime.InferenceSession, clips: list[np.ndarray]
):
    clip = clips[0]
    assert np.sqrt(np.mean(clip**2)) > 0.01  # as loud as that, it is looked at as it is
    likely = [
        probability >= 0.7 and not slowly_narrow(clip[512 * n : 512 * (n + 1)])
        for n, probability in enumerate(frame_by_frame(streaming, clip))
    ]
    for second in range(0, len(likely), 32):
        voiced = [clip[512 * n : 512 * (n + 1)] for n in range(second, min(second + 32, len(likely))) if likely[n]]
        if slowly_audible_bins(voiced) < 20:
            likely[second : second + 32] = [False] * len(likely[second : second + 32])
    with pytest.raises(NoSpeechError) as refused:
        detector.require_speech(clip, 60.0)
    assert refused.value.value == f"{0.032 * sum(likely):.2f} s"
    assert sum(likely) > 15


def slow_power(frame: np.ndarray) -> list[float]:
    """The squares of a discrete Fourier transform, from its first bin above 0 Hz."""
    padded = np.zeros(512)
    padded[: frame.size] = frame
    place = np.arange(512)
    padded *= 0.5 - 0.5 * np.cos(2 * np.pi * place / 511)
    return [abs(np.sum(padded * np.exp(-2j * np.pi * k * place / 512))) ** 2 for k in range(1, 257)]


def slowly_narrow(frame: np.ndarray) -> bool:
    """Whether five neighbouring bins hold more than 90 % of the power."""
    power = slow_power(frame)
    return max(sum(power[k : k + 5]) for k in range(252)) > 0.9 * sum(power)


def slowly_audible_bins(frames: list[np.ndarray]) -> int:
    """How many bins hold more than a thousandth of the power of the strongest, all frames together."""
    powers = [slow_power(frame) for frame in frames]
    summed = [sum(power[k] for power in powers) for k in range(256)]
    return sum(1000 * power > max(summed) for power in summed)


def test_is_narrow_of_tones_and_voices_equals_the_slow_transform(clips: list[np.ndarray]):
    time_s = np.arange(512) / SAMPLE_RATE_HZ
    tones = [0.1 * np.sin(2 * np.pi * f * time_s) for f in (90.0, 440.0, 3000.0, 7900.0)]
    pairs = [tones[0] + tones[1], 0.3 * tones[1] + tones[2], 0.4 * tones[1] + tones[2]]
    voices = clips[0][: 34 * 512].reshape(-1, 512)
    frames = np.concatenate([np.stack([*tones, *pairs]), voices, np.zeros((1, 512))]).astype(np.float32)
    expected = [slowly_narrow(frame) for frame in frames[:-1]]
    assert is_narrow(power_spectra(frames)).tolist() == [*expected, False]
    assert expected[: len(tones) + len(pairs)] == [True, True, True, True, False, True, False]


def test_audible_bins_of_tones_and_voices_equal_the_slow_transform(clips: list[np.ndarray]):
    time_s = np.arange(32 * 512) / SAMPLE_RATE_HZ
    hum = np.sum([np.sin(2 * np.pi * f * time_s) for f in (50, 120, 180, 240, 250)], axis=0)
    faint_end = np.where(np.arange(hum.size) < 30 * 512, hum, 0.003 * np.random.default_rng(2).normal(size=hum.size))
    sounds_of_a_second = [hum, faint_end, *(clip[: 32 * 512] for clip in clips[:4])]
    for samples in sounds_of_a_second:
        frames = samples.reshape(-1, 512).astype(np.float32)
        assert audible_bins(power_spectra(frames)) == slowly_audible_bins(list(frames))
    of_hum, of_faint_end, *of_voices = (slowly_audible_bins(list(s.reshape(-1, 512))) for s in sounds_of_a_second)
    assert of_hum == of_faint_end < 20 < min(of_voices)


def test_audible_bins_of_nothing_are_none():
    assert audible_bins(np.zeros((0, 256), np.float32)) == audible_bins(np.zeros((3, 256), np.float32)) == 0


@pytest.mark.shared_data
def test_at_least_995_of_1000_real_clips_pass(detector: SpeechDetector, shared_data: Path):
    """The people whom no number was chosen on: 60 speakers x 20 clips, and 251 readers of another domain."""
    speech = shared_data / "speech"
    paths = sorted((speech / "dev").rglob("*.opus")) + sorted((speech / "cohort").rglob("*.opus"))
    assert len(paths) == 1200 + 251
    refused = []
    for path in paths:
        try:
            detector.require_speech(read_clip(path.read_bytes(), SAMPLE_RATE_HZ, LIMITS), MIN_SPEECH_S)
        except NoSpeechError as error:
            refused.append((path.name, error.value))
    assert len(refused) <= 0.005 * len(paths), refused
