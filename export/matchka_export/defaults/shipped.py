"""Which default bundles are there already, and the fusion that this package carries (no torch)."""

from collections.abc import Mapping
from pathlib import Path

from matchka.bundles.bundle import Bundle, read_bundle
from matchka.bundles.fusion_file import FUSION_NAME, JOINT, read_fusion
from matchka.bundles.signature import SIGNATURE_NAME
from matchka.errors import BundleError
from matchka.runtime.atomic_file import write_atomically
from matchka_export.defaults.catalogue import DEFAULT_MODELS, FUSED
from matchka_export.defaults.model import shipped


def shipped_evidence(name: str) -> Path:
    """What was measured of a default model."""
    return DEFAULT_MODELS[name].evidence


def shipped_fusion() -> Path:
    """How the default models decide together."""
    return shipped(f"{JOINT.join(FUSED)}.json")


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
    return bundle if DEFAULT_MODELS[name].is_current(bundle) else None


def install_fusion(fusion_file: Path, bundles: Mapping[str, Bundle], models_dir: Path) -> Path | None:
    """Put the shipped fusion beside the bundles, if it was learned with exactly these versions and measurements.

    Args:
        fusion_file: the fusion's file.
        bundles: name -> bundle on disk.
        models_dir: folder of the bundles.

    Returns: the file written, or None: weights learned with other versions would not hold, and one that lies there is
        taken away.

    Raises: BundleError: the shipped file cannot be read.
    """
    fusion = read_fusion(fusion_file)
    target = models_dir / fusion.name / FUSION_NAME
    signature = target.with_name(SIGNATURE_NAME)
    if not all(name in bundles and fusion.was_learned_with(bundles[name].manifest) for name in fusion.models):
        target.unlink(missing_ok=True)
        signature.unlink(missing_ok=True)
        return None
    content = fusion_file.read_bytes()
    if target.is_symlink() or not target.is_file() or target.read_bytes() != content:
        signature.unlink(missing_ok=True)  # it is of what lay there before
        write_atomically(target, content)
    return target
