"""Changed copies (views) of a clip: crop, room, additive noise at a stated SNR, level, poor channels."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from pydantic import Field, field_validator
from scipy.signal import butter, sosfilt

from matchka.vectors import FloatArray
from matchka_train.errors import FeatureError
from matchka_train.modalities.acoustics.environment import NO_ENVIRONMENT, AcousticEnvironment
from matchka_train.modalities.acoustics.mixing import SMALLEST_POWER, add_at_snr
from matchka_train.modalities.acoustics.recipe import NoiseRecipe, RoomsRecipe, SoundFolder, rising
from matchka_train.strict_model import StrictModel

PINK_SHARE: Final = 0.5  # of noisy clips; rooms and crowds fall towards high frequencies, microphones hiss white


class AugmentationRecipe(StrictModel):
    """How views differ from the recording; the ranges are drawn from uniformly, per clip and view.

    Attributes:
        views: changed copies of each training clip, beside the recording itself.
        crop_s: length of the crop in seconds, or null to keep the whole clip; shorter clips stay whole.
        noise_snr_db: range of the signal-to-noise ratio in dB, or null for no noise.
        level_db: range of the change of level in dB.
        channel: share of views that also pass a poor channel: a telephone band, a room's uneven response, or a codec
            of few levels.
        recorded_noise: sounds out of folders, beside the noise that is made.
        rooms: room impulse responses out of folders.
    """

    views: int = Field(default=0, ge=0, le=64)
    crop_s: float | None = Field(default=3.0, gt=0)
    noise_snr_db: tuple[float, float] | None = (20.0, 40.0)
    level_db: tuple[float, float] = (-3.0, 3.0)
    channel: float = Field(default=0.0, ge=0, le=1)
    # left out of records and cache keys where there is none: what was made before them keeps its own
    recorded_noise: NoiseRecipe | None = Field(default=None, exclude_if=lambda value: value is None)
    rooms: RoomsRecipe | None = Field(default=None, exclude_if=lambda value: value is None)

    @field_validator("noise_snr_db", "level_db")
    @classmethod
    def _rises(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        return value if value is None else rising(value)

    def folders_in_use(self) -> Iterator[tuple[str, SoundFolder]]:
        """What each folder that changes clips is used for, beside the folder; none where there are no views."""
        if self.views:
            for use, section in (
                ("noise added to training clips", self.recorded_noise),
                ("room responses of training clips", self.rooms),
            ):
                yield from () if section is None else ((use, folder) for folder in section.folders)


@dataclass(frozen=True)
class View:
    """One changed copy of every clip.

    Attributes:
        number: from 1; view 0 is the recording itself and needs no View.
        seed: with the number and the clip it fixes every random choice.
        recipe: the ranges.
        environment: what the folders of the recipe hold.
    """

    number: int
    seed: int
    recipe: AugmentationRecipe
    environment: AcousticEnvironment = NO_ENVIRONMENT

    def __post_init__(self) -> None:
        """Refuse folders that nobody opened. Raises: FeatureError."""
        if not self.environment.is_of(self.recipe.recorded_noise, self.recipe.rooms):
            raise FeatureError(
                "The environment is not that of the recipe.",
                value=self.recipe.recorded_noise or self.recipe.rooms,
                remedy="Open the recipe's folders with open_environment.",
            )

    def describe(self) -> dict[str, object]:
        """All that the result depends on, for the key of the feature cache; what folders hold, not where they are."""
        drawn = self.recipe.model_dump(mode="json", exclude={"views", "recorded_noise", "rooms"})
        return {"number": self.number, "seed": self.seed, **drawn, **self.environment.describe()}

    def apply(self, samples: FloatArray, sample_rate_hz: int, clip_sha256: str, part: int) -> FloatArray:
        """Crop, pass a room, add noise, change the level; the same clip always becomes the same view.

        Args:
            samples: float32, (samples,), full scale 1.
            sample_rate_hz: their rate.
            clip_sha256: of the clip's bytes.
            part: of the clip.

        Returns: float32, (samples,), within +-1.

        Raises: DatasetError: a folder of noise changed since it was opened, or gives nothing but silence.
        """
        generator = np.random.default_rng([self.seed, self.number, part, int(clip_sha256[:16], 16)])
        cropped = self._crop(samples, sample_rate_hz, generator)
        cropped = self.environment.apply(cropped, sample_rate_hz, generator)
        if self.recipe.noise_snr_db is not None:
            cropped = add_noise(cropped, float(generator.uniform(*self.recipe.noise_snr_db)), generator)
        if generator.random() < self.recipe.channel:
            cropped = pass_channel(cropped, sample_rate_hz, generator)
        gain = np.float32(10.0 ** (generator.uniform(*self.recipe.level_db) / 20.0))
        changed: FloatArray = np.clip(cropped * gain, -1.0, 1.0)
        return changed

    def _crop(self, samples: FloatArray, sample_rate_hz: int, generator: np.random.Generator) -> FloatArray:
        if self.recipe.crop_s is None:
            return samples
        length = min(samples.size, round(self.recipe.crop_s * sample_rate_hz))
        start = int(generator.integers(0, samples.size - length + 1))
        return samples[start : start + length]


def add_noise(samples: FloatArray, snr_db: float, generator: np.random.Generator) -> FloatArray:
    """Add white or pink noise at a signal-to-noise ratio over the whole clip.

    Args:
        samples: float32, (samples,).
        snr_db: ratio of the mean powers in dB.
        generator: draws the colour and the noise.

    Returns: float32, (samples,).
    """
    noise = generator.standard_normal(samples.size)
    if generator.random() < PINK_SHARE:
        spectrum = np.fft.rfft(noise)
        spectrum /= np.sqrt(np.maximum(np.arange(spectrum.size), 1))  # power falls as 1/f
        noise = np.fft.irfft(spectrum, samples.size)
    return add_at_snr(samples, noise, snr_db)


def pass_channel(samples: FloatArray, sample_rate_hz: int, generator: np.random.Generator) -> FloatArray:
    """Pass a clip through one of three poor channels, drawn evenly.

    Args:
        samples: float32, (samples,).
        sample_rate_hz: their rate, above 8 kHz.
        generator: draws the channel and its values.

    Returns: float32, (samples,).
    """
    kind = int(generator.integers(0, 3))
    if kind == 0:  # a telephone: 0.1-0.3 to 3-3.8 kHz
        band = [generator.uniform(100.0, 300.0), generator.uniform(3000.0, 3800.0)]
        passed = sosfilt(butter(4, band, "bandpass", fs=sample_rate_hz, output="sos"), samples)
    elif kind == 1:  # a room and a cheap microphone: a smooth response within 6 dB
        spectrum = np.fft.rfft(samples)
        knots = generator.uniform(-6.0, 6.0, 6)
        # knots are denser at low frequencies, where voices are
        gains_db = np.interp(np.linspace(0.0, 1.0, spectrum.size) ** 0.5, np.linspace(0.0, 1.0, 6), knots)
        passed = np.fft.irfft(spectrum * 10.0 ** (gains_db / 20.0), samples.size)
    else:  # a codec: 64 levels on the mu-law scale, then a low pass
        passed = _few_levels(samples)
        cut = generator.uniform(0.25, 0.44) * sample_rate_hz
        passed = sosfilt(butter(4, cut, "lowpass", fs=sample_rate_hz, output="sos"), passed)
    changed: FloatArray = np.asarray(passed, np.float32)
    return changed


def _few_levels(samples: FloatArray) -> FloatArray:
    peak = max(float(np.abs(samples).max()), SMALLEST_POWER)
    law = np.log1p(255.0)  # mu-law as in G.711
    compressed = np.sign(samples) * np.log1p(255.0 * np.abs(samples) / peak) / law
    coarse = np.round(compressed * 64) / 64
    expanded: FloatArray = (peak * np.sign(coarse) * np.expm1(np.abs(coarse) * law) / 255.0).astype(np.float32)
    return expanded
