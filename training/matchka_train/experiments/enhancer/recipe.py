"""What the experiment varies."""

from pathlib import Path

from pydantic import Field

from matchka_train.strict_model import StrictModel


class LowResolutionRecipe(StrictModel):
    """The arms, beside the chip as it was cut.

    Attributes:
        enhancer: file of the one that is judged: what `matchka-train run` wrote, or a graph of your own.
        steps: of each enhancer that is trained here with one loss only, as a warning.
        spectrum_px: size whose spectra are drawn.
        ridges: strengths of the pull to doing nothing, of a projection of each size; the least is a warning.
    """

    enhancer: Path = Path("build/training/face-lowres/enhancer.safetensors")
    steps: int = Field(default=400, ge=1)
    ridges: tuple[float, ...] = Field(default=(1e-3, 1.0, 30.0), min_length=1)
    spectrum_px: float = Field(default=16.0, gt=0)
