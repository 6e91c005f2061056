"""The experiment's own arithmetic: spectra, what counts as a lie, and its page."""

import numpy as np
import pytest

from matchka_train.experiments.enhancer.figures import draw_spectra
from matchka_train.experiments.enhancer.page import arm_rows, lies, low_resolution_page
from matchka_train.experiments.enhancer.projections import fit_ridge
from matchka_train.experiments.enhancer.run import NOTHING, ArmAtSize, LowResolution, spectrum

SIDE = 32


def arm(name: str, paired: float, eer: float, size_px: float = 16.0) -> ArmAtSize:
    return ArmAtSize(name, size_px, paired, 0.6, eer, 0.2, 2e-3)


def found(*arms: ArmAtSize) -> LowResolution:
    spectra = {"full size": (1.0, 0.5), NOTHING: (1.0, 0.1)}
    return LowResolution(arms, (1.0, 2.0), spectra, people=5, samples=9, trained_on=7, dim=4, steps=3)


def test_spectrum_of_waves_has_its_peak_where_they_are() -> None:
    at = np.arange(SIDE)
    wave = 127 + 100 * np.sin(2 * np.pi * 6 * at / SIDE)
    chip = np.repeat(np.tile(wave, (SIDE, 1))[..., None], 3, axis=2).astype(np.uint8)
    assert 1 + int(np.argmax(spectrum(chip[None]))) in (5, 6, 7)  # the window spreads it over three


def test_fit_ridge_is_the_least_squares_of_both_terms() -> None:
    rng = np.random.default_rng(0)
    small, full, strength = rng.standard_normal((20, 3)), rng.standard_normal((20, 3)), 0.7
    stacked = np.vstack([small, np.sqrt(strength) * np.eye(3)])
    wanted = np.vstack([full, np.sqrt(strength) * np.eye(3)])
    slow = np.linalg.lstsq(stacked, wanted, rcond=None)[0]
    fitted = fit_ridge(small.astype(np.float32), full.astype(np.float32), strength)
    np.testing.assert_allclose(fitted.matrix, slow, atol=1e-5)
    np.testing.assert_allclose(fitted.apply(small.astype(np.float32)), small @ slow, atol=1e-5)


def test_lies_are_arms_whose_pairs_are_more_alike_and_whose_errors_are_more() -> None:
    result = found(
        arm(NOTHING, 0.94, 0.11),
        arm("lies", 0.95, 0.12),
        arm("helps", 0.95, 0.08),
        arm("says that it harms", 0.93, 0.12),
        arm(NOTHING, 0.99, 0.02, 32.0),
        arm("lies", 0.98, 0.03, 32.0),
    )
    assert [line.partition(":")[0] for line in lies(result)] == ["lies at 16 px"]


def test_low_resolution_page_shows_every_arm_and_its_figure(tmp_path) -> None:
    result = found(arm(NOTHING, 0.94, 0.1111), arm("lies", 0.95, 0.12))
    page = low_resolution_page(result, "spectra.png")
    assert "| bicubic | 16 | 0.9400 | 0.600 | 11.11 | 0.200 | 2.0e-03 |" in page
    assert "- lies at 16 px" in page
    assert "(spectra.png)" in page
    assert "Trained on 7 people, judged on 5 others with 9 photographs, at 4 components" in page
    assert len(arm_rows(result)) == 3
    draw_spectra(result, tmp_path / "spectra.png")
    assert (tmp_path / "spectra.png").stat().st_size > 1000


def test_low_resolution_page_without_a_lie_says_so() -> None:
    assert "- none" in low_resolution_page(found(arm(NOTHING, 0.9, 0.1)), "s.png")


@pytest.mark.parametrize("strength", [1e6])
def test_fit_ridge_of_great_strength_does_nothing(strength: float) -> None:
    rng = np.random.default_rng(1)
    small, full = rng.standard_normal((2, 20, 3)).astype(np.float32)
    np.testing.assert_allclose(fit_ridge(small, full, strength).matrix, np.eye(3), atol=1e-3)
