"""The detector of a face bundle on disk, for judging the bundle as a whole."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import onnxruntime

from matchka.modalities.face.detection import FaceDetector

GRAPHS: Final = ("pnet.onnx", "rnet.onnx", "onet.onnx")


@dataclass(frozen=True)
class GraphDetector:
    """Three graphs; also matchka_train.backbones.backbone.DetectorSource.

    Attributes: folder: of the bundle.
    """

    folder: Path

    @property
    def sha256(self) -> str:
        """Of the three files together."""
        digest = hashlib.sha256()
        for name in GRAPHS:
            digest.update((self.folder / name).read_bytes())
        return digest.hexdigest()

    def open(self) -> FaceDetector:
        """The detector."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # the networks are small
        return FaceDetector(
            *(
                onnxruntime.InferenceSession(str(self.folder / name), options, providers=["CPUExecutionProvider"])
                for name in GRAPHS
            )
        )
