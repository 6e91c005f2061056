"""Views have the noise, level, length and band they state, and are the same each time."""

import re

import numpy as np
import pytest
import yaml

from matchka_train.modalities.augmentation import AugmentationRecipe, View, add_noise, pass_channel
from tests.factories.checkout import ROOT

RATE_HZ = 16_000
SHA256 = "ab" * 32


@pytest.fixture
def tone():
    return (0.1 * np.sin(2 * np.pi * 440 * np.arange(5 * RATE_HZ) / RATE_HZ)).astype(np.float32)


def power(samples):
    return sum(float(value) ** 2 for value in samples) / len(samples)


@pytest.mark.parametrize("seed", [0, 1, 2, 3])  # both colours of noise occur
def test_add_noise_has_the_stated_ratio(tone, seed):
    noisy = add_noise(tone, 12.0, np.random.default_rng(seed))
    assert 10 * np.log10(power(tone) / power(noisy - tone)) == pytest.approx(12.0, abs=0.05)


def test_add_noise_is_white_or_pink(tone):
    falls = set()
    for seed in range(8):
        noise = add_noise(tone, 0.0, np.random.default_rng(seed)) - tone
        spectrum = np.abs(np.fft.rfft(noise)) ** 2
        octaves = [spectrum[2**k : 2 ** (k + 1)].mean() for k in range(6, 15)]
        falls.add(round(float(np.polyfit(range(9), 10 * np.log10(octaves), 1)[0])))
    assert falls == {0, -3}  # dB an octave


def test_view_draws_noise_level_and_crop_from_their_ranges(tone):
    ratios, levels = [], []
    for number in range(1, 25):
        quiet = View(number, 0, AugmentationRecipe(views=24, crop_s=2.0, noise_snr_db=None))
        changed = quiet.apply(tone, RATE_HZ, SHA256, 0)
        assert len(changed) == 2 * RATE_HZ
        levels.append(10 * np.log10(power(changed) / power(tone)))
        noisy = View(number, 0, AugmentationRecipe(views=24, crop_s=None, level_db=(0.0, 0.0)))
        ratios.append(10 * np.log10(power(tone) / power(noisy.apply(tone, RATE_HZ, SHA256, 0) - tone)))
    assert -3.1 < min(levels) < -2 < 2 < max(levels) < 3.1
    assert 19.9 < min(ratios) < 24 < 36 < max(ratios) < 40.1


def test_view_of_a_short_clip_keeps_it_whole(tone):
    view = View(1, 0, AugmentationRecipe(views=1, crop_s=3.0, noise_snr_db=None, level_db=(0.0, 0.0)))
    assert np.array_equal(view.apply(tone[:100], RATE_HZ, SHA256, 0), tone[:100])


def test_view_depends_on_the_clip_its_part_the_number_and_the_seed_and_on_nothing_else(tone):
    recipe = AugmentationRecipe(views=2)
    first = View(1, 0, recipe).apply(tone, RATE_HZ, SHA256, 0)
    assert np.array_equal(first, View(1, 0, recipe).apply(tone, RATE_HZ, SHA256, 0))
    others = [
        View(2, 0, recipe).apply(tone, RATE_HZ, SHA256, 0),
        View(1, 1, recipe).apply(tone, RATE_HZ, SHA256, 0),
        View(1, 0, recipe).apply(tone, RATE_HZ, "cd" * 32, 0),
        View(1, 0, recipe).apply(tone, RATE_HZ, SHA256, 1),
    ]
    assert all(not np.array_equal(first, other) for other in others)


def test_pass_channel_takes_what_each_channel_takes():
    noise = np.random.default_rng(0).standard_normal(2 * RATE_HZ).astype(np.float32) * 0.1

    def band(samples, low, high):
        spectrum = np.abs(np.fft.rfft(samples)) ** 2
        at = np.fft.rfftfreq(len(samples), 1 / RATE_HZ)
        return spectrum[(at >= low) & (at < high)].mean()

    losses = []
    for seed in range(20):
        passed = pass_channel(noise, RATE_HZ, np.random.default_rng(seed))
        losses.append(
            [10 * np.log10(band(passed, *edges) / band(noise, *edges)) for edges in ((5000, 5500), (7400, 8000))]
        )
    telephones = [pair for pair in losses if pair[0] < -8]
    codecs = [pair for pair in losses if pair[0] >= -8 and pair[1] < -8]
    rooms = [pair for pair in losses if pair[1] >= -8]
    assert min(len(telephones), len(codecs), len(rooms)) >= 2
    assert all(abs(value) <= 6.5 for pair in rooms for value in pair)


def test_view_never_passes_full_scale():
    loud = np.ones(RATE_HZ, np.float32)
    view = View(3, 0, AugmentationRecipe(views=3, level_db=(3.0, 3.0), channel=1.0))
    assert np.abs(view.apply(loud, RATE_HZ, SHA256, 0)).max() <= 1.0


def test_view_without_folders_is_described_and_drawn_as_before_there_were_any(tone):
    recipe = AugmentationRecipe(views=2, noise_snr_db=None)
    generator = np.random.default_rng([7, 2, 0, int(SHA256[:16], 16)])
    start = generator.integers(0, 2 * RATE_HZ + 1)
    generator.random()  # whether it passes a poor channel
    gain = 10 ** (generator.uniform(-3.0, 3.0) / 20)
    expected = tone[start : start + 3 * RATE_HZ] * gain
    assert np.allclose(View(2, 7, recipe).apply(tone, RATE_HZ, SHA256, 0), expected, atol=1e-7)
    recipe = AugmentationRecipe(views=2)
    assert View(1, 0, recipe).describe() == {
        "number": 1,
        "seed": 0,
        "crop_s": 3.0,
        "noise_snr_db": [20.0, 40.0],
        "level_db": [-3.0, 3.0],
        "channel": 0.0,
    }
    assert set(recipe.model_dump()) == {"views", "crop_s", "noise_snr_db", "level_db", "channel"}


def test_the_example_of_the_documentation_is_a_recipe_that_names_its_licences():
    text = (ROOT / "docs/training.md").read_text()
    (example,) = re.findall(r"```yaml\n(augmentation:.*?)```", text, re.DOTALL)
    recipe = AugmentationRecipe.model_validate(yaml.safe_load(example)["augmentation"])
    assert [(use, folder.name, folder.licence) for use, folder in recipe.folders_in_use()] == [
        ("noise added to training clips", "MUSAN", "CC BY 4.0"),
        ("room responses of training clips", "RIRS_NOISES", "Apache-2.0"),
    ]
    assert not list(recipe.model_copy(update={"views": 0}).folders_in_use())
