"""What a default model is: how its bundle is built, and whether one was built from what is shipped now."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from rich.console import Console

from matchka.bundles.bundle import Bundle, sha256_of
from matchka.bundles.manifest import REPORT_NAME
from matchka_export.bundle import BASE_VERSION, EXPORTER, EXPORTER_REVISION


@dataclass(frozen=True)
class DefaultModel(ABC):
    """A model that every installation starts with.

    Attributes:
        name: of the model, its folder and its files in this package, NAME.safetensors and NAME.json.
        weights: sha256 of the weights its bundle is made of: those of the backbone first, those of detectors behind.
    """

    name: str
    weights: tuple[str, ...]

    @abstractmethod
    def build(self, target: Path, downloads: Path, samples: Path, console: Console) -> Bundle:
        """Build the bundle.

        Args:
            target: its folder.
            downloads: the folder that keeps package files.
            samples: folder of recordings and pictures.
            console: where progress goes.

        Raises: MatchkaError: nothing is written.
        """

    def is_current(self, bundle: Bundle) -> bool:
        """Whether a bundle, whose hashes hold, was built from what would be used now.

        One of schema 1 is not: it has no digest of its content. What is built in its place has the same version.
        """
        manifest = bundle.manifest
        auxiliary = [source for part in manifest.auxiliary.values() for source in part.sources.values()]
        return (
            manifest.content_digest is not None
            and manifest.name == self.name
            and manifest.version.startswith(f"{BASE_VERSION}+")
            and manifest.libraries.get(EXPORTER) == EXPORTER_REVISION
            and sorted(source.sha256 for source in [manifest.backbone, *auxiliary]) == sorted(self.weights)
            and manifest.projection.sha256 == sha256_of(self.fitted)
            and manifest.files.get(REPORT_NAME) == sha256_of(self.evidence)
        )

    @property
    def fitted(self) -> Path:
        """The projection or head that is shipped."""
        return shipped(f"{self.name}.safetensors")

    @property
    def evidence(self) -> Path:
        """What was measured of it."""
        return shipped(f"{self.name}.json")


def shipped(name: str) -> Path:
    """A file that this package carries."""
    with resources.as_file(resources.files("matchka_export.defaults").joinpath(name)) as path:
        return path
