"""The default models: whose weights each is made of, and the network that takes them (no torch until it is opened).

A model's projection and measurements lie beside this file, NAME.safetensors and NAME.json.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from matchka_train.backbones.backbone import Backbone
from matchka_train.weights.package_catalogue import DLIB_WEIGHTS, GE2E_WEIGHTS, MTCNN_WEIGHTS, SPEECH_ACTIVITY_GRAPH


@dataclass(frozen=True)
class DefaultModel:
    """A model that every installation starts with.

    Attributes:
        weights: sha256 of the weights its bundle is made of: those of the backbone first, those of detectors behind.
        open_backbone: folder that keeps package files -> frozen network.
    """

    weights: tuple[str, ...]
    open_backbone: Callable[[Path], Backbone]


# Networks import torch, which takes seconds, and a bundle that is current needs none of it.


def _ge2e(downloads: Path) -> Backbone:
    from matchka_train.backbones.speaker.ge2e import Ge2e

    return Ge2e(downloads)


def _dlib(downloads: Path) -> Backbone:
    from matchka_train.backbones.face.dlib import DlibFace

    return DlibFace(downloads)


DEFAULT_MODELS: Final = {
    "voice": DefaultModel((GE2E_WEIGHTS.sha256, SPEECH_ACTIVITY_GRAPH.sha256), _ge2e),
    "face": DefaultModel((DLIB_WEIGHTS.sha256, *(member.sha256 for member in MTCNN_WEIGHTS.values())), _dlib),
}
