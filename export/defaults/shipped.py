"""The projection and measurements this package carries, and whether a bundle on disk was built from them (no torch)."""

from importlib import resources
from pathlib import Path
from typing import Final

from export.layout import BASE_VERSION, REPORT_NAME
from service.bundle import Bundle, read_bundle, sha256_of
from service.errors import BundleError
from training.backbones.packages import GE2E_WEIGHTS

VOICE_NAME: Final = "voice"


def shipped_projection() -> Path:
    """The fitted projection of `voice`."""
    return _shipped("voice.safetensors")


def shipped_evidence() -> Path:
    """What was measured of it."""
    return _shipped("voice.json")


def current_bundle(target: Path) -> Bundle | None:
    """The bundle at `target` if it checks out and was built from what is shipped now; else None.

    Every hash of the bundle is verified; a damaged one is not current.
    """
    try:
        bundle = read_bundle(target)
    except BundleError:
        return None
    manifest = bundle.manifest
    same = (
        manifest.name == VOICE_NAME
        and manifest.version.startswith(f"{BASE_VERSION}+")
        and manifest.backbone.sha256 == GE2E_WEIGHTS.sha256
        and manifest.projection.sha256 == sha256_of(shipped_projection())
        and manifest.files.get(REPORT_NAME) == sha256_of(shipped_evidence())
    )
    return bundle if same else None


def _shipped(name: str) -> Path:
    with resources.as_file(resources.files("export.defaults").joinpath(name)) as path:
        return path
