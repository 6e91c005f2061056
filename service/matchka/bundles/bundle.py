"""A bundle on disk: the folder that carries a model, read and verified."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

from pydantic import Field, TypeAdapter, ValidationError

from matchka.bundles.manifest import GRAPH_NAME, MANIFEST_NAME, Manifest
from matchka.bundles.schema_1 import ManifestOfSchema1
from matchka.errors import BundleError

HASH_BLOCK_BYTES: Final = 1 << 20
_REBUILD: Final = "Build the bundle again with `matchka-export defaults`."
_ANY_SCHEMA: Final[TypeAdapter[Manifest | ManifestOfSchema1]] = TypeAdapter(
    Annotated[Manifest | ManifestOfSchema1, Field(discriminator="schema_version")]
)


@dataclass(frozen=True)
class Bundle:
    """A verified bundle on disk. Attributes: is_current: false for an older version that is served beside a newer."""

    path: Path
    manifest: Manifest
    is_current: bool = True

    @property
    def graph_path(self) -> Path:
        """The ONNX graph."""
        return self.path / GRAPH_NAME


def sha256_of(path: Path) -> str:
    """The sha256 of a file, as 64 lower-case hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(HASH_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def read_manifest(path: Path) -> Manifest:
    """Read a bundle's manifest, of any schema; the files it names are not looked at.

    Raises: BundleError: there is none, or it does not validate.
    """
    try:
        found = _ANY_SCHEMA.validate_json((path / MANIFEST_NAME).read_text(encoding="utf-8"))
        return found.as_schema_2() if isinstance(found, ManifestOfSchema1) else found
    except (OSError, UnicodeDecodeError) as error:
        raise BundleError(f"The manifest of {path} cannot be read.", value=error, remedy=_REBUILD) from error
    except ValidationError as error:
        first = error.errors()[0]
        # the first part of a place in the file is the number of the schema
        where = ".".join(str(part) for part in first["loc"][1:]) or "manifest"
        raise BundleError(
            f"The manifest of {path} is not valid at {where}: {first['msg']}.", value=first["input"], remedy=_REBUILD
        ) from error


def read_bundle(path: Path) -> Bundle:
    """Read a bundle and verify the manifest and the sha256 of every file.

    Args:
        path: the bundle's folder.

    Raises: BundleError: no manifest, one that does not validate, a file missing, changed, or not listed.
    """
    manifest = read_manifest(path)
    for name, expected in manifest.files.items():
        file = path / name
        if Path(name).is_absolute() or ".." in Path(name).parts or not file.is_file():
            raise BundleError(f"The bundle {path} lacks a file its manifest lists.", value=name, remedy=_REBUILD)
        try:
            found = sha256_of(file)
        except OSError as error:
            raise BundleError(
                f"The file {name} of the bundle {path} cannot be read.", value=error, remedy=_REBUILD
            ) from error
        if found != expected:
            raise BundleError(
                f"The file {name} of the bundle {path} is not the one its manifest names (sha256 {expected}).",
                value=found,
                remedy=_REBUILD,
            )
    present = {str(file.relative_to(path)) for file in path.rglob("*") if file.is_file()}
    extra = present - set(manifest.files) - {MANIFEST_NAME}
    if extra:
        raise BundleError(
            f"The bundle {path} holds files its manifest does not list.", value=sorted(extra), remedy=_REBUILD
        )
    return Bundle(path, manifest)
