"""What is computed of a sample's rows before a backbone's file, inside the same graph."""

from typing import Annotated, Final, Literal, Protocol, TypeAlias

from pydantic import Field
from torch import Tensor, nn

from matchka.modalities.audio.spec import AudioInputSpec
from matchka.modalities.face.spec import ImageInputSpec
from matchka.modalities.modality import GraphInput, InputSpec
from matchka_train.backbones.speaker.fbank import KaldiFbank, Taper
from matchka_train.errors import FeatureError
from matchka_train.strict_model import StrictModel

CHANNELS: Final = 3


class FrontEnd(Protocol):
    """Makes what a file takes out of rows of an input."""

    def features(self, spec: InputSpec, /) -> GraphInput:
        """What it makes.

        Raises: FeatureError: it is not made for this kind of input, or for rows so short.
        """
        ...

    def module(self, spec: InputSpec, /) -> nn.Module:
        """Rows of the input (n, ...) -> float32 (n, *features.shape), without parameters.

        Raises: FeatureError: as features.
        """
        ...


class FbankRecipe(StrictModel):
    """Kaldi's log mel filter bank less its mean: 25 ms frames every 10 ms.

    Attributes:
        bands: mel bands.
        taper: Kaldi's default is povey; WeSpeaker trains with hamming.
    """

    kind: Literal["kaldi_fbank"]
    bands: int = Field(default=80, ge=4, le=256)
    taper: Taper = "povey"

    def features(self, spec: InputSpec) -> GraphInput:
        """Frames: float32, (batch, frames, bands).

        Raises: FeatureError: the input is no audio, or its windows are shorter than two frames.
        """
        audio = _require_audio(spec)
        frames = KaldiFbank(audio.sample_rate_hz, self.bands, self.taper).frames(*audio.graph_input().fixed_shape)
        if frames < 2:
            raise FeatureError(
                "The mean over a window of the filter bank needs at least two frames, 35 ms.",
                value=f"{audio.window_samples} samples",
                remedy="Make window_samples longer.",
            )
        return GraphInput("features", (frames, self.bands), "float32")

    def module(self, spec: InputSpec) -> KaldiFbank:
        """Windows -> features.

        Raises: FeatureError: the input is no audio.
        """
        return KaldiFbank(_require_audio(spec).sample_rate_hz, self.bands, self.taper).eval()


class PixelsRecipe(StrictModel):
    """Chips as most face networks take them: float32, channels first, scaled.

    Attributes:
        mean: subtracted from each pixel of 0 to 255.
        divisor: what is left is divided by it.
        order: of the channels.
    """

    kind: Literal["pixels"]
    mean: float = 127.5
    divisor: float = Field(default=127.5, gt=0)
    order: Literal["rgb", "bgr"] = "rgb"

    def features(self, spec: InputSpec) -> GraphInput:
        """Pixels: float32, (batch, 3, chip_px, chip_px).

        Raises: FeatureError: the input is no picture.
        """
        side = _require_image(spec).chip_px
        return GraphInput("pixels", (CHANNELS, side, side), "float32")

    def module(self, spec: InputSpec) -> "Pixels":
        """Chips -> pixels.

        Raises: FeatureError: the input is no picture.
        """
        _require_image(spec)
        return Pixels(self.mean, self.divisor, reverse=self.order == "bgr").eval()


class Pixels(nn.Module):
    """Chips (n, rows, columns, 3) of 0 to 255 -> float32 (n, 3, rows, columns).

    Args:
        mean: subtracted.
        divisor: divides what is left.
        reverse: whether blue comes first.
    """

    def __init__(self, mean: float, divisor: float, *, reverse: bool) -> None:
        super().__init__()
        self.mean, self.divisor, self.reverse = mean, divisor, reverse

    def forward(self, chips: Tensor) -> Tensor:
        """Scale a batch of chips."""
        scaled = (chips.permute(0, 3, 1, 2).float() - self.mean) / self.divisor
        return scaled.flip(1) if self.reverse else scaled


AnyFrontEndRecipe: TypeAlias = Annotated[FbankRecipe | PixelsRecipe, Field(discriminator="kind")]


def _require_audio(spec: InputSpec) -> AudioInputSpec:
    if isinstance(spec, AudioInputSpec):
        return spec
    raise FeatureError("A filter bank is made of audio.", value=spec.kind, remedy="Leave front_end out.")


def _require_image(spec: InputSpec) -> ImageInputSpec:
    if isinstance(spec, ImageInputSpec):
        return spec
    raise FeatureError("Pixels are made of pictures.", value=spec.kind, remedy="Leave front_end out.")
