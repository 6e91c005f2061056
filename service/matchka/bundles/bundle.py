"""A bundle on disk: the folder that carries a model, read and verified."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

from pydantic import Field, TypeAdapter, ValidationError
from pydantic_core import from_json

from matchka.bundles.content import refuse_links, require_digest
from matchka.bundles.manifest import MANIFEST_NAME, REPORT_NAME, Manifest
from matchka.bundles.schema_1 import ManifestOfSchema1
from matchka.bundles.signature import NO_KEYS, SIGNATURE_NAME, TrustedKeys
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
        """The bundle's own ONNX graph, or the first variant of a bundle without one."""
        return self.path / self.manifest.graphs[0]

    def require_files(self) -> None:
        """Verify every file anew: what was opened since the bundle was read is then what its manifest names.

        Raises: BundleError: a file is missing or was changed.
        """
        _require_files(self.path, self.manifest)


def sha256_of(path: Path) -> str:
    """The sha256 of a file, as 64 lower-case hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(HASH_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def read_manifest(path: Path) -> Manifest:
    """Read a bundle's manifest, of any schema; the files it names are not looked at.

    Raises: BundleError: there is none, it does not validate, it was edited, or the folder holds symbolic links.
    """
    refuse_links(path)
    file = path / MANIFEST_NAME
    try:
        # parsed once: with a name that stands there twice, a second parser might read something else than was sealed
        document = from_json(file.read_bytes())
        found = _ANY_SCHEMA.validate_python(document)
        manifest = found.as_schema_2() if isinstance(found, ManifestOfSchema1) else found
    except ValidationError as error:
        first = error.errors()[0]
        # the first part of a place in the file is the number of the schema
        where = ".".join(str(part) for part in first["loc"][1:]) or "manifest"
        raise BundleError(
            f"The manifest of {path} is not valid at {where}: {first['msg']}.", value=first["input"], remedy=_REBUILD
        ) from error
    except (OSError, ValueError) as error:
        raise BundleError(f"The manifest of {path} cannot be read.", value=error, remedy=_REBUILD) from error
    if isinstance(found, Manifest):
        require_digest(document, file)
    return manifest


def read_bundle(path: Path, trusted: TrustedKeys = NO_KEYS) -> Bundle:
    """Read a bundle and verify the manifest, the sha256 of every file, and that it says what was measured.

    Args:
        path: the bundle's folder.
        trusted: whose signature it needs.

    Raises: BundleError: no manifest, or one that does not validate or was edited; no signature of a trusted key; a file
        missing, changed, or not listed; a symbolic link; measurements that the report does not have.
    """
    manifest = read_manifest(path)
    trusted.require_signature(path, manifest.content_digest)
    _require_files(path, manifest)
    present = {str(file.relative_to(path)) for file in path.rglob("*") if file.is_file()}
    extra = present - set(manifest.files) - {MANIFEST_NAME, SIGNATURE_NAME}
    if extra:
        raise BundleError(
            f"The bundle {path} holds files its manifest does not list.", value=sorted(extra), remedy=_REBUILD
        )
    _require_evidence(path, manifest)
    return Bundle(path, manifest)


def _require_files(path: Path, manifest: Manifest) -> None:
    for name, expected in manifest.files.items():
        file = path / name
        # os.path: unlike Path.is_file(), it takes a name that no file can have for one that is not there
        if Path(name).is_absolute() or ".." in Path(name).parts or not os.path.isfile(file):  # noqa: PTH113
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


def _require_evidence(path: Path, manifest: Manifest) -> None:
    """Refuse measurements that the report does not have: the report is the evidence, the manifest repeats it.

    Raises: BundleError: they differ, or there is no report.
    """
    stated = [(output, name) for output in manifest.outputs.values() for name in output.evidence]
    if not stated:
        return
    if REPORT_NAME not in manifest.files:
        if manifest.content_digest is None:
            return  # of schema 1, which did not ask for one
        raise BundleError(
            f"The bundle {path} lacks the report of its measurements.", value=REPORT_NAME, remedy=_REBUILD
        )
    try:
        report = from_json((path / REPORT_NAME).read_bytes())
        differences = [other for output, name in stated if (other := output.differing(name, report.get(name)))]
    except (OSError, ValueError, AttributeError) as error:  # no file, no JSON, or not of this form
        raise BundleError(
            f"The measurements {path / REPORT_NAME} cannot be read.", value=error, remedy=_REBUILD
        ) from error
    if differences:
        raise BundleError(
            f"The manifest of {path} does not state what was measured: {REPORT_NAME} says something else.",
            value="; ".join(differences),
            remedy=_REBUILD,
        )
