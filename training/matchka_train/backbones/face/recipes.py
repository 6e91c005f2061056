"""How recipes name backbones that embed faces."""

from pathlib import Path
from typing import Literal

from matchka_train.backbones.face.dlib import DlibFace
from matchka_train.backbones.face.edgeface import EdgeFace, EdgeFaceVariant
from matchka_train.backbones.face.mtcnn import Mtcnn
from matchka_train.backbones.onnx_file import file_sha256
from matchka_train.backbones.recipe import BackboneRecipe
from matchka_train.weights.location import WeightsLocation
from matchka_train.weights.packages import DEFAULT_CACHE_DIR


class DlibRecipe(BackboneRecipe):
    """dlib's face descriptor behind the MTCNN detector, with weights out of pinned packages.

    Attributes:
        downloads_dir: folder that keeps the package files.
        mirrored: whether the mirror image of each chip is a second view.
    """

    kind: Literal["dlib"]
    downloads_dir: Path = DEFAULT_CACHE_DIR
    mirrored: bool = True

    def open(self) -> DlibFace:
        """The backbone."""
        return DlibFace(self.downloads_dir, self.mirrored)


class EdgeFaceRecipe(WeightsLocation, BackboneRecipe):
    """EdgeFace behind the MTCNN detector, out of a published checkpoint.

    Attributes: variant: which of the networks it holds. The licence differs by where it was published (decision 071).
    """

    kind: Literal["edgeface"]
    variant: EdgeFaceVariant

    def open(self) -> EdgeFace:
        """The backbone.

        Raises: ChecksumError, WeightsAbsentError: as WeightsLocation.place.
        """
        path, source = self.place(f"EdgeFace {self.variant}", file_sha256)
        return EdgeFace(path, self.variant, source, Mtcnn(self.downloads_dir))
