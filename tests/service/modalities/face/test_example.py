"""Made chips: darker where eyes and mouth are, and no two the same."""

import numpy as np

from matchka.modalities.face.spec import ImageInputSpec

SPEC = ImageInputSpec(
    chip_px=100, template_points=((30, 30), (70, 30), (50, 50), (35, 70), (65, 70)), template_weights=(1,) * 5
)


def test_example_is_dark_at_the_eyes_and_the_mouth_and_bright_between_them() -> None:
    chips = SPEC.example(4, seed=1).astype(float).mean(axis=3)
    eyes = np.stack([chips[:, 29:32, 30:33].mean(axis=(1, 2)), chips[:, 29:32, 67:70].mean(axis=(1, 2))])
    mouth, nose = chips[:, 70:72, 45:55].mean(axis=(1, 2)), chips[:, 45:55, 45:55].mean(axis=(1, 2))
    assert np.all(eyes < nose - 30)
    assert np.all(mouth < nose - 30)
    assert len({chip.tobytes() for chip in chips}) == 4
