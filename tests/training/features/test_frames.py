"""The cache of frames gives what the encoder gives, encodes what was added and nothing else, and is never stale."""

from dataclasses import dataclass, field

import numpy as np
import pytest
import soundfile

from matchka_train.backbones.frames.encoder import CLIP_INPUT
from matchka_train.datasets.content import hash_files
from matchka_train.datasets.sample import Sample
from matchka_train.errors import FeatureError, TooManyUnreadableError
from matchka_train.features.frames import extract_frames
from matchka_train.modalities.clip_limits import ClipLimits
from matchka_train.weights.source import WeightSource
from tests.factories.voice_folders import write_voices

SOURCE = WeightSource("loudness", "tests", "1", "0" * 64, "none")
LIMITS = ClipLimits(min_speech_s=0.1)


@dataclass
class TenMilliseconds:
    """Loudness of every 10 ms in two layers of one component, and how many clips were encoded."""

    gain: float = 1.0
    dim: int = 1
    encoded: list[int] = field(default_factory=list)

    name: str = "loudness"
    source: WeightSource = SOURCE
    input = CLIP_INPUT
    layers: int = 2
    frame_period_s: float = 0.01

    def open(self):
        def encode(clip):
            self.encoded.append(clip.size)
            frames = clip[: clip.size // 160 * 160].reshape(-1, 160)
            loud = np.sqrt((frames**2).mean(axis=1)) * self.gain
            return np.stack([loud, -loud], axis=1)[:, :, None].astype(np.float32)

        return encode


@pytest.fixture
def samples(tmp_path):
    write_voices(tmp_path / "clips", range(3), 2)
    return [Sample(path, f"c/{path.parent.name}", "d") for path in sorted((tmp_path / "clips").rglob("*.wav"))]


def extract(samples, tmp_path, quiet, encoder):
    return extract_frames(samples, encoder, tmp_path / "cache", LIMITS, hash_files(samples, quiet), quiet)


def test_frames_of_a_clip_are_those_of_the_levelled_waveform_in_half_precision(samples, tmp_path, quiet):
    encoder = TenMilliseconds()
    found = extract(samples, tmp_path, quiet, encoder)
    assert found.counts.tolist() == [100] * 6  # a second each
    clip, _ = soundfile.read(samples[4].path, dtype="float64")
    level = max(1.0, 10 ** (-30 / 20) / np.sqrt(np.mean(clip**2)))
    loud = np.sqrt((clip.reshape(100, -1) ** 2).mean(axis=1)) * level  # resampling keeps the loudness of its middle
    frames = found.read(4)
    assert frames.dtype == np.float16
    assert np.allclose(frames[5:-5, 0, 0], loud[5:-5], rtol=0.25)
    assert np.array_equal(frames[:, 1], -frames[:, 0])
    assert np.array_equal(found.select([4, 1]).read(0), frames)


def test_frames_when_a_clip_is_added_encode_one_clip(samples, tmp_path, quiet):
    first = TenMilliseconds()
    extract(samples[:5], tmp_path, quiet, first)
    assert len(first.encoded) == 1 + 5  # the fixed clip, by which the cache knows the encoder
    second = TenMilliseconds()
    found = extract(samples, tmp_path, quiet, second)
    assert len(second.encoded) == 1 + 1
    assert found.counts.min() > 0


def test_frames_when_a_clip_changes_or_its_file_is_damaged_are_encoded_again(samples, tmp_path, quiet):
    found = extract(samples, tmp_path, quiet, TenMilliseconds())
    kept = found.read(2)
    content = bytearray(found.files[2].read_bytes())
    content[len(content) // 2] ^= 255
    found.files[2].write_bytes(bytes(content))
    with pytest.raises(FeatureError, match="no frames"):
        found.read(2)
    soundfile.write(samples[0].path, 0.05 * np.sin(np.arange(16_000) / 5), 8_000)
    encoder = TenMilliseconds()
    again = extract(samples, tmp_path, quiet, encoder)
    assert len(encoder.encoded) == 1 + 2
    assert np.array_equal(again.read(2), kept)
    assert again.counts[0] == 200


def test_frames_when_the_encoder_is_another_are_never_those_of_the_first(samples, tmp_path, quiet):
    one = extract(samples, tmp_path, quiet, TenMilliseconds()).read(0)
    changed = TenMilliseconds(gain=2.0)  # the same weights under other code
    assert np.allclose(extract(samples, tmp_path, quiet, changed).read(0), 2 * one.astype(np.float32), rtol=2e-3)
    assert len(changed.encoded) == 1 + 6


def test_frames_when_the_encoder_returns_others_than_it_declares_refuse(samples, tmp_path, quiet):
    with pytest.raises(FeatureError, match="2 layers of 3"):
        extract(samples, tmp_path, quiet, TenMilliseconds(dim=3))


def test_frames_when_clips_cannot_be_read_skip_few_and_refuse_many(samples, tmp_path, quiet):
    samples[3].path.write_bytes(b"no sound")
    with pytest.raises(TooManyUnreadableError, match="1 of 6"):
        extract(samples, tmp_path, quiet, TenMilliseconds())


def test_frames_when_a_file_changes_after_it_was_hashed_are_not_kept_under_that_hash(samples, tmp_path, quiet):
    hashes = hash_files(samples, quiet)
    original = samples[0].path.read_bytes()
    samples[0].path.write_bytes(samples[1].path.read_bytes())
    with pytest.raises(TooManyUnreadableError, match=r"1 of 6 .* changed after it was hashed"):
        extract_frames(samples, TenMilliseconds(), tmp_path / "cache", LIMITS, hashes, quiet)
    samples[0].path.write_bytes(original)
    encoder = TenMilliseconds()
    assert extract(samples, tmp_path, quiet, encoder).counts.min() > 0
    assert len(encoder.encoded) == 1 + 1
