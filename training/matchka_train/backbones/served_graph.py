"""A bundle's graph in the place of a backbone, so that samples reach it on the way every feature takes."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Final

import torch

from matchka.bundles.bundle import Bundle, sha256_of
from matchka.bundles.outputs.embedding import EMBEDDINGS, EmbeddingOutput
from matchka.bundles.outputs.output import Output
from matchka.inference.session import OrtSession, Session, Shape, open_ort_session
from matchka.modalities.graph import Graph
from matchka.modalities.modality import InputSpec
from matchka_train.weights.source import WeightSource, joined_sha256

THREADS: Final = 2
NO_HEADS: Final[Mapping[str, Output]] = MappingProxyType({})
AUXILIARY_THREADS: Final = 1  # such networks are small: a second thread costs more than it brings


@dataclass(frozen=True)
class GraphFiles:
    """An auxiliary part of a bundle as its graphs; see matchka_train.backbones.auxiliary.RequiredPart.

    Attributes:
        name: as the bundle's input calls it.
        paths: of the graphs, in the order of the input's `auxiliary_graphs()`.
    """

    name: str
    paths: tuple[Path, ...]

    @property
    def sha256(self) -> str:
        """Of the files together."""
        return joined_sha256(sha256_of(path) for path in self.paths)

    def open(self) -> tuple[Graph, ...]:
        """The graphs, as the service opens them.

        Raises: BundleError: a file is no graph.
        """
        return tuple(open_ort_session(path, AUXILIARY_THREADS) for path in self.paths)


@dataclass(frozen=True)
class ServedGraph:
    """A graph behind the session that serves it; its embeddings are projected and not rescaled.

    Attributes: as matchka_train.backbones.backbone.Backbone; `embedding_dim` is the graph's full_dim, `output` the name
        of its embeddings.
    """

    name: str
    source: WeightSource
    input: InputSpec
    embedding_dim: int
    session: Session
    auxiliary: tuple[GraphFiles, ...]
    output: str = EMBEDDINGS

    @property
    def published(self) -> "ServedGraph":
        """Itself; a bundle's manifest holds what its frozen backbone reaches."""
        return self

    def module(self) -> torch.nn.Module:
        """The session behind torch's interface."""
        return _SessionModule(self.session, self.output)


class _SessionModule(torch.nn.Module):
    def __init__(self, session: Session, output: str) -> None:
        super().__init__()
        self.session = session
        self.output = output

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(self.session.run(rows.numpy())[self.output])


def open_session(
    graph_path: Path, spec: InputSpec, full_dim: int, heads: Mapping[str, Output] = NO_HEADS
) -> OrtSession:
    """A graph that was just written, loaded as the service loads it.

    Args: graph_path, spec, full_dim, heads: as serve_graph.

    Raises: BundleError: it is no graph, or its inputs or outputs are not what the manifest says.
    """
    return _open(graph_path, spec, {EMBEDDINGS: (full_dim,)} | {name: head.row_shape for name, head in heads.items()})


def serve_graph(
    graph_path: Path, spec: InputSpec, full_dim: int, heads: Mapping[str, Output] = NO_HEADS
) -> ServedGraph:
    """A graph that was just written, with the auxiliary graphs beside it that its input needs.

    Args:
        graph_path: the file; required auxiliary graphs lie beside it.
        spec: what it takes.
        full_dim: components of an embedding.
        heads: what it returns beside its embedding.

    Raises: BundleError: as open_session.
    """
    session, source = open_session(graph_path, spec, full_dim, heads), _source_of(graph_path, "graph under test", "")
    return ServedGraph(source.name, source, spec, full_dim, session, auxiliary_files(graph_path.parent, spec))


def serve_bundle(bundle: Bundle) -> ServedGraph:
    """The graph of a bundle, with its auxiliary graphs; of several outputs, its embeddings.

    Raises:
        BundleError: its inputs or outputs are not what the manifest says.
        OutputNotAvailableError: it does not embed.
    """
    manifest, path, spec = bundle.manifest, bundle.graph_path, bundle.manifest.input
    full_dim, output = manifest.output(EmbeddingOutput).full_dim, manifest.output_name(EmbeddingOutput)
    session = _open(path, spec, {name: found.row_shape for name, found in manifest.outputs.items()})
    source = _source_of(path, manifest.name, manifest.version)
    return ServedGraph(source.name, source, spec, full_dim, session, auxiliary_files(bundle.path, spec), output)


def value_of(served: ServedGraph, name: str) -> ServedGraph:
    """The same graph with one of its values, by name, in the place of its embedding."""
    return replace(served, name=f"{served.name}, {name}", embedding_dim=1, output=name)


def auxiliary_files(folder: Path, spec: InputSpec) -> tuple[GraphFiles, ...]:
    """The graphs in a bundle's folder without which its samples are not read."""
    return tuple(
        GraphFiles(name, tuple(folder / file for file in graphs.files))
        for name, graphs in spec.auxiliary_graphs().items()
        if graphs.required
    )


def _open(graph_path: Path, spec: InputSpec, outputs: Mapping[str, Shape]) -> OrtSession:
    expected = spec.graph_input()
    return OrtSession(graph_path, expected.name, expected.shape, outputs, THREADS, expected.dtype)


def _source_of(graph_path: Path, name: str, version: str) -> WeightSource:
    return WeightSource(name, str(graph_path), version, sha256_of(graph_path), "see the manifest")
