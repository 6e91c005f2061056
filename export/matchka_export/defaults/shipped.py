"""The projections and measurements this package carries, and whether a bundle was built from them (no torch)."""

from importlib import resources
from pathlib import Path
from typing import Final

from matchka.bundles.bundle import Bundle, read_bundle, sha256_of
from matchka.errors import BundleError
from matchka_export.layout import BASE_VERSION, REPORT_NAME
from matchka_train.weights.package_catalogue import DLIB_WEIGHTS, MTCNN_WEIGHTS
from matchka_train.weights.packages import GE2E_WEIGHTS, SPEECH_ACTIVITY_GRAPH

VOICE_NAME: Final = "voice"
FACE_NAME: Final = "face"
# model -> sha256 of the weights its bundle is made of: those of the backbone first, those of detectors behind
WEIGHTS: Final = {
    VOICE_NAME: (GE2E_WEIGHTS.sha256, SPEECH_ACTIVITY_GRAPH.sha256),
    FACE_NAME: (DLIB_WEIGHTS.sha256, *(member.sha256 for member in MTCNN_WEIGHTS.values())),
}


def shipped_projection(name: str) -> Path:
    """The fitted projection of a default model."""
    return _shipped(f"{name}.safetensors")


def shipped_evidence(name: str) -> Path:
    """What was measured of it."""
    return _shipped(f"{name}.json")


def shipped_fusion() -> Path:
    """How the default models decide together."""
    return _shipped(f"{VOICE_NAME}+{FACE_NAME}.json")


def current_bundle(target: Path, name: str) -> Bundle | None:
    """The bundle at `target` if it checks out and was built from what is shipped now; else None.

    Every hash of the bundle is verified; a damaged one is not current.

    Args:
        target: the bundle's folder.
        name: of the default model it should be.
    """
    try:
        bundle = read_bundle(target)
    except BundleError:
        return None
    manifest = bundle.manifest
    detectors = [
        *(manifest.detector.sources.values() if manifest.detector else ()),
        *([manifest.speech_activity.source] if manifest.speech_activity else ()),
    ]
    same = (
        manifest.name == name
        and manifest.version.startswith(f"{BASE_VERSION}+")
        and sorted((manifest.backbone.sha256, *(source.sha256 for source in detectors))) == sorted(WEIGHTS[name])
        and manifest.projection.sha256 == sha256_of(shipped_projection(name))
        and manifest.files.get(REPORT_NAME) == sha256_of(shipped_evidence(name))
    )
    return bundle if same else None


def _shipped(name: str) -> Path:
    with resources.as_file(resources.files("matchka_export.defaults").joinpath(name)) as path:
        return path
