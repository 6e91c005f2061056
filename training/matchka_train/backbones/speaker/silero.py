"""Silero's detector of speech: a published graph, which bundles carry as it is."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from rich.console import Console

from matchka.modalities.audio.spec import SPEECH_GRAPH_NAME
from matchka_train.weights.package_catalogue import SPEECH_ACTIVITY_GRAPH
from matchka_train.weights.packages import DEFAULT_CACHE_DIR, read_member
from matchka_train.weights.source import WeightSource


@dataclass(frozen=True)
class Silero:
    """The graph out of a pinned package; see matchka_train.backbones.auxiliary.ExportablePart.

    Attributes: downloads: the folder that keeps the package file.
    """

    downloads: Path = DEFAULT_CACHE_DIR

    name: ClassVar[str] = "speech_activity"
    kind: ClassVar[str] = "silero"

    @property
    def sources(self) -> dict[str, WeightSource]:
        """Where the graph comes from."""
        member = SPEECH_ACTIVITY_GRAPH
        source = WeightSource(
            name="Silero voice activity detector",
            source=f"Python package {member.package.name}, member {member.path}",
            version=member.package.version,
            sha256=member.sha256,
            licence=member.package.licence,
        )
        return {SPEECH_GRAPH_NAME: source}

    def graphs(self) -> dict[str, bytes]:
        """Its bytes.

        Raises: DownloadError, ChecksumError: the graph is not to be had, or is another one.
        """
        return {SPEECH_GRAPH_NAME: read_member(SPEECH_ACTIVITY_GRAPH, self.downloads, Console(stderr=True))}
