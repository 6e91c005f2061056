"""How recipes name backbones that embed speech."""

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from matchka_train.backbones.onnx_file import file_sha256
from matchka_train.backbones.recipe import BackboneRecipe
from matchka_train.backbones.speaker.ge2e import Ge2e
from matchka_train.backbones.speaker.redimnet.frozen import HOP_SAMPLES, WINDOW_SAMPLES, Layer, RedimnetFile
from matchka_train.backbones.speaker.transformer.backbone import (
    HOP_S,
    WINDOW_S,
    SpeechTransformer,
    open_speech_transformer,
)
from matchka_train.backbones.speaker.transformer.folder import weights_sha256
from matchka_train.weights.location import WeightsLocation
from matchka_train.weights.packages import DEFAULT_CACHE_DIR


class Ge2eRecipe(BackboneRecipe):
    """GE2E, with weights out of a pinned package.

    Attributes: downloads_dir: folder that keeps the package file.
    """

    kind: Literal["ge2e"] = "ge2e"
    downloads_dir: Path = DEFAULT_CACHE_DIR

    def open(self) -> Ge2e:
        """The backbone."""
        return Ge2e(self.downloads_dir)


class SpeechTransformerRecipe(WeightsLocation, BackboneRecipe):
    """HuBERT, wav2vec 2.0 or WavLM, out of a folder: config.json, preprocessor_config.json and the weights.

    Attributes:
        layers: `sum` adds the layers up with fixed weights, for every family of projection; `apart` keeps them for
            the family layer_sum, which learns their weights.
        layer_weights: of the sum, one for the encoder's input and one for each layer; equal where not given.
        window_s: length of a window.
        hop_s: distance between the starts of two.
    """

    kind: Literal["speech_transformer"]
    layers: Literal["sum", "apart"] = "sum"
    layer_weights: tuple[float, ...] | None = None
    window_s: float = Field(default=WINDOW_S, gt=0)
    hop_s: float = Field(default=HOP_S, gt=0)

    @model_validator(mode="after")
    def _weighs_what_it_sums(self) -> "SpeechTransformerRecipe":
        if self.layer_weights is not None and self.layers == "apart":
            raise ValueError("layer_weights belong to layers: sum; those of layers: apart are learned")
        return self

    def open(self) -> SpeechTransformer:
        """The backbone.

        Raises: ChecksumError, FeatureError, WeightsAbsentError: as WeightsLocation.place and open_speech_transformer.
        """
        path, source = self.place("" if self.path is None else self.path.name, weights_sha256)
        return open_speech_transformer(
            path,
            source,
            layers_apart=self.keeps_layers_apart,
            layer_weights=self.layer_weights,
            window_s=self.window_s,
            hop_s=self.hop_s,
        )

    @property
    def keeps_layers_apart(self) -> bool:
        """Whether nothing sums them up."""
        return self.layers == "apart"


class RedimnetRecipe(WeightsLocation, BackboneRecipe):
    """A ReDimNet of any published size, from its makers' checkpoint.

    Attributes:
        name: short name.
        layer: `pooled` is what the published head takes, `embedding` what it returns.
        window_samples: of one window, at 16 kHz.
        hop_samples: between the starts of two windows.
    """

    kind: Literal["redimnet"]
    name: str = Field(default="redimnet", pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")
    layer: Layer = "pooled"
    window_samples: int = Field(default=WINDOW_SAMPLES, ge=16_000, le=960_000)
    hop_samples: int = Field(default=HOP_SAMPLES, gt=0)

    def open(self) -> RedimnetFile:
        """The backbone.

        Raises: ChecksumError, WeightsAbsentError: as WeightsLocation.place.
        """
        path, source = self.place(self.name, file_sha256)
        return RedimnetFile(path, source, self.name, self.layer, self.window_samples, self.hop_samples)
