"""The bundles of a folder: several versions of a model may stand side by side, and exactly one of them is current."""

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

from matchka.bundles.bundle import Bundle, read_bundle, read_manifest
from matchka.bundles.manifest import MANIFEST_NAME, Manifest
from matchka.bundles.signature import NO_KEYS, TrustedKeys
from matchka.errors import BundleError


@dataclass(frozen=True)
class Listed:
    """A bundle's folder and manifest, its files not verified. Attributes: is_current: enrolments go to it."""

    path: Path
    manifest: Manifest
    is_current: bool


def list_bundles(models_dir: Path, names: Collection[str] = ()) -> list[Listed]:
    """Read the manifests of a folder of bundles: models by name, the current version first, others by falling version.

    A model's only bundle is its current one. Of several versions, the current one is that whose folder has the
    model's name; the others may have any name.

    Args:
        models_dir: the folder; the manifests of all its bundles are read.
        names: of the models that are wanted, each with all its versions; without any, every model is.

    Raises: BundleError: no bundle, or none of a name that is wanted; a manifest that does not validate; of a model
        that is wanted two bundles of the same version, none or several that could be current, or versions that take
        samples of different kinds.
    """
    folders = sorted(path.parent for path in models_dir.glob(f"*/{MANIFEST_NAME}"))
    if not folders:
        raise BundleError(
            f"There is no bundle in {models_dir}.",
            remedy="Build the default ones with `matchka-export defaults`, or set MATCHKA_MODELS_DIR.",
        )
    by_name: dict[str, list[Listed]] = defaultdict(list)
    for folder in folders:
        manifest = read_manifest(folder)
        by_name[manifest.name].append(Listed(folder, manifest, folder.name == manifest.name))
    missing = sorted(set(names) - by_name.keys())
    if missing:
        raise BundleError(
            f"{models_dir} has no bundle of a model that is to be served.",
            value=", ".join(missing),
            remedy=f"Set MATCHKA_MODELS to some of {', '.join(sorted(by_name))}, or unset it to serve them all.",
        )
    wanted = sorted(set(names) or by_name)
    return [listed for name in wanted for listed in _in_order(name, by_name[name])]


def read_bundles(models_dir: Path, names: Collection[str] = (), trusted: TrustedKeys = NO_KEYS) -> list[Bundle]:
    """Read and verify bundles of a folder; see list_bundles().

    Args:
        models_dir: the folder.
        names: of the models that are wanted.
        trusted: whose signature each of them needs.

    Raises: BundleError: as list_bundles(), or a bundle that is wanted does not check out.
    """
    wanted = list_bundles(models_dir, names)
    return [replace(read_bundle(listed.path, trusted), is_current=listed.is_current) for listed in wanted]


def _in_order(name: str, versions: list[Listed]) -> list[Listed]:
    if len(versions) == 1:
        return [replace(versions[0], is_current=True)]
    known = [listed.manifest.version for listed in versions]
    repeated = sorted({version for version in known if known.count(version) > 1})
    if repeated:
        raise BundleError(
            f"Two bundles have the name {name} and the same version.", value=repeated, remedy="Keep one of them."
        )
    if not any(listed.is_current for listed in versions):
        raise BundleError(
            f"It cannot be said which version of {name} is current.",
            value=[listed.path.name for listed in versions],
            remedy=f"Name the folder of the current one {name}; the others may have any other name.",
        )
    if len({listed.manifest.input.kind for listed in versions}) > 1:
        raise BundleError(
            f"Versions of {name} take samples of different kinds.",
            value=[f"{listed.manifest.version}: {listed.manifest.input.kind}" for listed in versions],
            remedy="Give the new model a name of its own.",
        )
    by_version = sorted(versions, key=lambda listed: listed.manifest.version, reverse=True)
    return sorted(by_version, key=lambda listed: not listed.is_current)
