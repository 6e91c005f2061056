"""The projections and measurements this package carries, and whether a bundle was built from them (no torch)."""

from collections.abc import Mapping
from importlib import resources
from pathlib import Path

from matchka.bundles.bundle import Bundle, read_bundle, sha256_of
from matchka.bundles.fusion_file import FUSION_NAME, JOINT, read_fusion
from matchka.bundles.manifest import REPORT_NAME
from matchka.bundles.outputs.embedding import EmbeddingOutput
from matchka.bundles.signature import SIGNATURE_NAME
from matchka.errors import BundleError
from matchka.runtime.atomic_file import write_atomically
from matchka_export.bundle import BASE_VERSION
from matchka_export.defaults.catalogue import DEFAULT_MODELS
from matchka_export.gate.evidence import read_evidence


def shipped_projection(name: str) -> Path:
    """The fitted projection of a default model."""
    return _shipped(f"{name}.safetensors")


def shipped_evidence(name: str) -> Path:
    """What was measured of it."""
    return _shipped(f"{name}.json")


def shipped_fusion() -> Path:
    """How the default models decide together."""
    return _shipped(f"{JOINT.join(DEFAULT_MODELS)}.json")


def current_bundle(target: Path, name: str) -> Bundle | None:
    """The bundle at `target` if it checks out and was built from what is shipped now; else None.

    Every hash of the bundle is verified; a damaged one is not current, nor is one of schema 1: it has no digest of its
    content. What is built in its place has the same version.

    Args:
        target: the bundle's folder.
        name: of the default model it should be.
    """
    try:
        bundle = read_bundle(target)
    except BundleError:
        return None
    manifest, measured = bundle.manifest, read_evidence(shipped_evidence(name))
    auxiliary = [source for part in manifest.auxiliary.values() for source in part.sources.values()]
    same = (
        manifest.content_digest is not None
        and manifest.name == name
        and manifest.version.startswith(f"{BASE_VERSION}+")
        and sorted(source.sha256 for source in [manifest.backbone, *auxiliary]) == sorted(DEFAULT_MODELS[name].weights)
        and manifest.projection.sha256 == sha256_of(shipped_projection(name))
        and manifest.files.get(REPORT_NAME) == sha256_of(shipped_evidence(name))
        and manifest.output(EmbeddingOutput).scorer == measured.scorer
        and all(manifest.files.get(file) == sha256 for file, sha256 in measured.scorer_sha256.items())
    )
    return bundle if same else None


def install_fusion(shipped: Path, bundles: Mapping[str, Bundle], models_dir: Path) -> Path | None:
    """Put the shipped fusion beside the bundles, if it was learned with exactly these versions and measurements.

    Args:
        shipped: the fusion's file.
        bundles: name -> bundle on disk.
        models_dir: folder of the bundles.

    Returns: the file written, or None: weights learned with other versions would not hold, and one that lies there is
        taken away.

    Raises: BundleError: the shipped file cannot be read.
    """
    fusion = read_fusion(shipped)
    target = models_dir / fusion.name / FUSION_NAME
    signature = target.with_name(SIGNATURE_NAME)
    if not all(name in bundles and fusion.was_learned_with(bundles[name].manifest) for name in fusion.models):
        target.unlink(missing_ok=True)
        signature.unlink(missing_ok=True)
        return None
    content = shipped.read_bytes()
    if target.is_symlink() or not target.is_file() or target.read_bytes() != content:
        signature.unlink(missing_ok=True)  # it is of what lay there before
        write_atomically(target, content)
    return target


def _shipped(name: str) -> Path:
    with resources.as_file(resources.files("matchka_export.defaults").joinpath(name)) as path:
        return path
