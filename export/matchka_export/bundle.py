"""A bundle's folder: staged, hashed, verified as a reader would, then moved atomically."""

import hashlib
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Final

from matchka.bundles.bundle import read_bundle, sha256_of
from matchka.bundles.content import DIGEST_FIELD, content_digest
from matchka.bundles.manifest import (
    MANIFEST_NAME,
    SCHEMA_VERSION,
    AuxiliaryPart,
    DatasetUse,
    Manifest,
    Source,
)
from matchka.bundles.outputs.output import Output
from matchka.bundles.signature import SIGNATURE_NAME
from matchka.bundles.variant import Variant
from matchka.modalities.modality import InputSpec
from matchka_train.backbones.backbone import Backbone, plain_of
from matchka_train.weights.source import WeightSource

BASE_VERSION: Final = "1.0.0"  # raised by hand when code changes what an embedding is (docs/decisions/031)
# imported when a bundle is written, and not before: torch takes seconds, and a bundle that is current needs none of it
LIBRARIES: Final = ("numpy", "onnx", "onnxruntime", "torch")
EXPORTER: Final = "matchka-export"
# raised by hand when graphs are written in another way: bundles of before are then built again, under the same version
EXPORTER_REVISION: Final = "3"
VERSION_DIGITS: Final = 8  # hexadecimal digits of the content in a version: 4 billion before two are likely to meet


@dataclass(frozen=True)
class Facts:
    """What a manifest says beyond hashes and library versions.

    Attributes: as matchka.bundles.manifest.Manifest.
    """

    name: str
    version: str
    task: str
    input: InputSpec
    outputs: dict[str, Output]
    backbone: Source
    projection: Source
    datasets: tuple[DatasetUse, ...]
    accepted_worse: str | None = None
    auxiliary: dict[str, AuxiliaryPart] = field(default_factory=dict)
    variants: dict[str, Variant] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)


@contextmanager
def staged_bundle(target: Path) -> Iterator[Path]:
    """A folder to fill with the files of a bundle; it becomes `target` if all goes well, and vanishes otherwise.

    The folder must have been sealed; it is read as the service reads it before it takes the place of an older bundle.

    Args: target: the bundle's folder, replaced if present.

    Raises: BundleError: what was written does not check out.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    # two levels down, so that a service which reads the folder of bundles never takes it for one
    with tempfile.TemporaryDirectory(prefix=".bundle-", dir=target.parent) as scratch:
        folder = Path(scratch) / "new" / target.name
        folder.mkdir(parents=True)
        yield folder
        read_bundle(folder)
        if target.exists():
            target.replace(Path(scratch) / "old")
        folder.replace(target)


def seal(folder: Path, facts: Facts) -> Manifest:
    """Hash every file of a folder and write the manifest beside them, with the digest of all that it says.

    The same files give the same manifest.

    Args:
        folder: holds the graph and whatever else belongs to the bundle.
        facts: the rest of the manifest.

    Returns: the manifest as written.
    """
    files = {
        path.relative_to(folder).as_posix(): sha256_of(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in (MANIFEST_NAME, SIGNATURE_NAME)
    }
    unsealed = Manifest(
        schema_version=SCHEMA_VERSION,
        name=facts.name,
        version=facts.version,
        task=facts.task,
        input=facts.input,
        auxiliary=facts.auxiliary,
        outputs=facts.outputs,
        variants=facts.variants,
        left_out=facts.left_out,
        backbone=facts.backbone,
        projection=facts.projection,
        datasets=facts.datasets,
        files=files,
        libraries=library_versions() | {EXPORTER: EXPORTER_REVISION},
        accepted_worse=facts.accepted_worse,
        content_digest=None,
    )
    digest = content_digest(unsealed.model_dump(mode="json"))
    manifest = unsealed.model_copy(update={DIGEST_FIELD: digest})
    (folder / MANIFEST_NAME).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return manifest


def as_source(weights: WeightSource) -> Source:
    """A backbone's weight source as the manifest writes it."""
    return Source(**asdict(weights))


def content_version(
    base: str, backbone: Backbone, projection_sha256: str, dims: tuple[int, ...], float16: bool = False
) -> str:
    """A version that changes with what embeddings are made of, and with nothing else (docs/decisions/031).

    Templates of two versions are never compared, so a new library must not change it; nor must an enhancer of poor
    samples, which leaves all others, and with them the templates on disk, as they are (docs/decisions/133).

    Args:
        base: raised by hand when code changes an embedding, for example "1.0.0".
        backbone: its weights and windows.
        projection_sha256: of the projection's file.
        dims: dims served.
        float16: whether the backbone's weights are rounded.

    Returns: `base` and eight hexadecimal digits.
    """
    backbone = plain_of(backbone)
    parts: dict[str, object] = {
        "backbone": backbone.source.sha256,
        "dims": list(dims),
        "float16": float16,
        "input": backbone.input.content(),
        "projection": projection_sha256,
    }
    if backbone.auxiliary:
        parts |= {part.name: part.sha256 for part in backbone.auxiliary} | {"views": backbone.name}
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    return f"{base}+{digest[:VERSION_DIGITS]}"


def library_versions() -> dict[str, str]:
    """Versions of the libraries that shape a graph, without the tag of their build."""
    return {name: str(import_module(name).__version__).partition("+")[0] for name in LIBRARIES}
