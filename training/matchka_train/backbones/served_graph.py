"""A bundle's graph in the place of a backbone, so that samples reach it on the way every feature takes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch

from matchka.bundles.bundle import sha256_of
from matchka.inference.session import OrtSession, Session
from matchka.modalities.modality import InputSpec
from matchka_train.backbones.backbone import DetectorSource
from matchka_train.backbones.face.mtcnn_graphs import MtcnnGraphs
from matchka_train.weights.source import WeightSource

THREADS: Final = 2


@dataclass(frozen=True)
class ServedGraph:
    """A graph behind the session that serves it; its embeddings are projected and not rescaled.

    Attributes: as matchka_train.backbones.backbone.Backbone; `embedding_dim` is the graph's full_dim.
    """

    name: str
    source: WeightSource
    input: InputSpec
    embedding_dim: int
    session: Session
    detector: DetectorSource | None

    @property
    def published(self) -> "ServedGraph":
        """Itself; a bundle's manifest holds what its frozen backbone reaches."""
        return self

    def module(self) -> torch.nn.Module:
        """The session behind torch's interface."""
        return _SessionModule(self.session)


class _SessionModule(torch.nn.Module):
    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(self.session.embed(rows.numpy()))


def open_session(graph_path: Path, spec: InputSpec, full_dim: int) -> OrtSession:
    """A written graph, loaded as the service loads it.

    Raises: BundleError: it is no graph, or its inputs or outputs are not what the manifest says.
    """
    expected = spec.graph_input()
    return OrtSession(graph_path, expected.name, expected.shape, full_dim, THREADS, expected.dtype)


def serve_graph(
    graph_path: Path, spec: InputSpec, full_dim: int, name: str = "graph under test", version: str = ""
) -> ServedGraph:
    """A written graph behind the detector beside it, if its input needs one.

    Args:
        graph_path: the file; of a face bundle, the detector's graphs lie beside it.
        spec: what it takes.
        full_dim: components of an embedding.
        name: of the model.
        version: of the model.

    Raises: BundleError: as open_session.
    """
    detector = MtcnnGraphs(graph_path.parent) if "detector" in spec.auxiliary_graphs() else None
    source = WeightSource(name, str(graph_path), version, sha256_of(graph_path), "see the manifest")
    return ServedGraph(name, source, spec, full_dim, open_session(graph_path, spec, full_dim), detector)
