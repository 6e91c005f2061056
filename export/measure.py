"""An exported graph on validation clips, through the session that serves it: nothing is taken on trust."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from rich.progress import Progress

from export.dim_report import Embedded, report_dims
from export.graph import INPUT_NAME, WindowsToEmbeddings, export_graph
from export.parity import cut_into_batches, require_parity
from service.bundle import DimReport, sha256_of
from service.media.audio import AudioInput, AudioLimits, read_clip
from service.session import OrtSession, Session
from service.vectors import FloatArray
from training.backbones.backbone import Backbone, WeightSource
from training.datasets.sample import Sample
from training.features import extract_features
from training.validate import Report, embed_by_domain, validate

THREADS: Final = 2
PARITY_CLIPS: Final = 12  # real clips, of all lengths there are


@dataclass(frozen=True)
class Measured:
    """What was found out about a graph.

    Attributes:
        parity: largest absolute difference from torch.
        embedded: the graph's embeddings of the validation clips, per domain.
        raw_embedded: the frozen backbone's.
        projected: accuracy of the graph per domain and dim.
        raw: accuracy of the frozen backbone, truncated to the same dims.
        per_dim: as the manifest holds it.
    """

    parity: float
    embedded: Embedded
    raw_embedded: Embedded
    projected: Report
    raw: Report
    per_dim: dict[str, DimReport]


@dataclass(frozen=True)
class ServedGraph:
    """A graph in the place of a backbone, so that clips reach it on the way every feature takes.

    Attributes: as training.backbones.backbone.Backbone; `embedding_dim` is the graph's full_dim.
    """

    name: str
    source: WeightSource
    input: AudioInput
    embedding_dim: int
    session: Session

    def module(self) -> torch.nn.Module:
        """The session behind torch's interface; its embeddings are not rescaled."""
        return _SessionModule(self.session)


class _SessionModule(torch.nn.Module):
    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(self.session.embed(windows.numpy()))


def export_and_measure(
    backbone: Backbone,
    projection: torch.nn.Module,
    validation: Sequence[Sequence[Sample]],
    dims: Sequence[int],
    limits: AudioLimits,
    cache_dir: Path,
    graph_path: Path,
    seed: int,
    progress: Progress,
) -> Measured:
    """Export, prove parity on real clips, and measure the file that was written.

    Args:
        backbone: the frozen network.
        projection: (n, embedding_dim) -> (n, full_dim).
        validation: data sets of identities that trained nothing.
        dims: dims to measure, rising; the last is full_dim.
        limits: which clips are taken.
        cache_dir: features of the frozen backbone; those of the graph are never cached.
        graph_path: the file to write.
        seed: of all draws.
        progress: shows how far it is.

    Raises: ParityError, BundleError, FeatureError, NoTrialsError: as the steps below.
    """
    task = progress.add_task("exporting the graph", total=2)
    model = WindowsToEmbeddings(backbone.module(), projection)
    export_graph(model, backbone.input.window_samples, graph_path)
    progress.update(task, completed=1)
    session = open_session(graph_path, backbone.input, dims[-1])
    parity = require_parity(
        model, session, cut_into_batches(_clips(validation, backbone.input, limits), backbone.input)
    )
    progress.update(task, completed=2)
    raw_features = [extract_features(samples, backbone, cache_dir, progress, limits) for samples in validation]
    served = ServedGraph("graph under test", _graph_source(graph_path), backbone.input, dims[-1], session)
    with tempfile.TemporaryDirectory(prefix="matchka-measure-") as folder:
        features = [extract_features(samples, served, Path(folder), progress, limits) for samples in validation]
        embedded = embed_by_domain(_unchanged, features)
        projected = validate(_unchanged, features, dims)
    raw = validate(_unchanged, raw_features, dims)
    task = progress.add_task("operating points", total=len(dims))
    per_dim = report_dims(embedded, projected, raw, dims, seed, lambda: progress.advance(task))
    return Measured(parity, embedded, embed_by_domain(_unchanged, raw_features), projected, raw, per_dim)


def open_session(graph_path: Path, spec: AudioInput, full_dim: int) -> OrtSession:
    """The written file, loaded as the service loads it.

    Raises: BundleError: its inputs or outputs are not what the manifest will say.
    """
    return OrtSession(graph_path, INPUT_NAME, (spec.window_samples,), full_dim, THREADS)


def _clips(validation: Sequence[Sequence[Sample]], spec: AudioInput, limits: AudioLimits) -> list[FloatArray]:
    """Real clips spread evenly over the validation data."""
    paths = sorted({sample.path for samples in validation for sample in samples})
    chosen = paths[:: max(1, len(paths) // PARITY_CLIPS)][:PARITY_CLIPS]
    return [read_clip(path.read_bytes(), spec.sample_rate_hz, limits) for path in chosen]


def _graph_source(graph_path: Path) -> WeightSource:
    return WeightSource("graph under test", str(graph_path), "", sha256_of(graph_path), "")


def _unchanged(windows: FloatArray) -> FloatArray:
    return windows
