"""MTCNN as the three ONNX graphs of a bundle, opened as the service opens them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from matchka.bundles.bundle import sha256_of
from matchka.inference.session import open_ort_session
from matchka.modalities.face.detection import FaceDetector
from matchka_train.weights.source import joined_sha256

GRAPH_NAMES: Final = ("pnet.onnx", "rnet.onnx", "onet.onnx")  # in the order in which faces pass them
THREADS: Final = 1  # the networks are small: a second thread costs more than it brings


@dataclass(frozen=True)
class MtcnnGraphs:
    """The graphs in a folder; also matchka_train.backbones.backbone.DetectorSource.

    Attributes: folder: that of the bundle.
    """

    folder: Path

    @property
    def sha256(self) -> str:
        """Of the three files together."""
        return joined_sha256(sha256_of(self.folder / name) for name in GRAPH_NAMES)

    def open(self) -> FaceDetector:
        """A detector that runs in ONNX Runtime.

        Raises: BundleError: a file is no graph.
        """
        return FaceDetector(*(open_ort_session(self.folder / name, THREADS) for name in GRAPH_NAMES))
