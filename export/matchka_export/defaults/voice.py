"""The `voice` bundle: GE2E, out of pinned packages, with the shipped projection."""

from pathlib import Path

from rich.console import Console

from matchka.bundles.bundle import Bundle
from matchka_export.defaults.assemble import assemble
from matchka_train.backbones.speaker.ge2e import Ge2e


def build_voice(
    target: Path, projection_path: Path, evidence_path: Path, downloads: Path, samples_dir: Path, console: Console
) -> Bundle:
    """Build the bundle and put it in its place; nothing is left behind if a step fails.

    Args:
        target: the bundle's folder.
        projection_path: the fitted projection.
        evidence_path: what was measured of it.
        downloads: the folder that keeps package files.
        samples_dir: real recordings for the parity check, used where they are present.
        console: where progress goes.

    Raises: MatchkaError: as matchka_export.defaults.assemble.assemble.
    """
    return assemble(target, Ge2e(downloads), projection_path, evidence_path, downloads, samples_dir, console)
