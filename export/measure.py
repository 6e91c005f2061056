"""An exported graph on validation clips, through the session that serves it: nothing is taken on trust."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from rich.progress import Progress

from export.dim_report import report_dims
from export.evidence import GateResult
from export.gate import judge
from export.graph import INPUT_NAME
from export.parity import cut_into_batches, require_parity
from service.bundle import DimReport, sha256_of
from service.media.audio import AudioInput, AudioLimits, read_clip
from service.session import OrtSession, Session
from service.vectors import FloatArray
from training.backbones.backbone import Backbone, WeightSource
from training.datasets.sample import Sample
from training.features import Features, extract_features
from training.validate import Report, embed_by_domain, validate

THREADS: Final = 2
PARITY_CLIPS: Final = 12  # real clips, of all lengths there are


@dataclass(frozen=True)
class Trials:
    """What a graph is measured on.

    Attributes:
        validation: data sets of identities that trained nothing.
        dims: dims to measure, rising; the last is full_dim.
        limits: which clips are taken.
        cache_dir: features of the frozen backbone; those of the graph are never cached.
        seed: of all draws.
    """

    validation: Sequence[Sequence[Sample]]
    dims: tuple[int, ...]
    limits: AudioLimits
    cache_dir: Path
    seed: int


@dataclass(frozen=True)
class Measured:
    """What was found out about a graph.

    Attributes:
        parity: largest absolute difference from torch.
        projected: accuracy of the graph per domain and dim.
        raw: accuracy of the frozen backbone, truncated to the same dims.
        per_dim: as the manifest holds it.
        gate: graph against frozen backbone at full dim, per domain.
    """

    parity: float
    projected: Report
    raw: Report
    per_dim: dict[str, DimReport]
    gate: dict[str, GateResult]


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


def measure_graph(
    graph_path: Path, model: torch.nn.Module, backbone: Backbone, trials: Trials, progress: Progress
) -> Measured:
    """Prove parity on real clips, then measure the file itself, on clips it reads for the first time.

    Args:
        graph_path: the written graph.
        model: the torch module it was made from.
        backbone: the frozen network in it.
        trials: what to measure on.
        progress: shows how far it is.

    Raises: ParityError, BundleError, FeatureError, NoTrialsError, GateError: as the steps below.
    """
    session = open_session(graph_path, backbone.input, trials.dims[-1])
    task = progress.add_task("comparing the graph with torch", total=1)
    parity = require_parity(model, session, cut_into_batches(_clips(trials, backbone.input), backbone.input))
    progress.advance(task)
    raw_features = _features(backbone, trials, trials.cache_dir, progress)
    served = ServedGraph("graph under test", _graph_source(graph_path), backbone.input, trials.dims[-1], session)
    with tempfile.TemporaryDirectory(prefix="matchka-measure-") as folder:
        features = _features(served, trials, Path(folder), progress)
        embedded, projected = embed_by_domain(_unchanged, features), validate(_unchanged, features, trials.dims)
    raw = validate(_unchanged, raw_features, trials.dims)
    task = progress.add_task("operating points", total=len(trials.dims))
    per_dim = report_dims(embedded, projected, raw, trials.dims, trials.seed, lambda: progress.advance(task))
    task = progress.add_task("drawing identities anew", total=1)
    gate = judge(embedded, embed_by_domain(_unchanged, raw_features), trials.dims[-1], trials.seed)
    progress.advance(task)
    return Measured(parity, projected, raw, per_dim, gate)


def open_session(graph_path: Path, spec: AudioInput, full_dim: int) -> OrtSession:
    """The written file, loaded as the service loads it.

    Raises: BundleError: its inputs or outputs are not what the manifest will say.
    """
    return OrtSession(graph_path, INPUT_NAME, (spec.window_samples,), full_dim, THREADS)


def _features(backbone: Backbone, trials: Trials, folder: Path, progress: Progress) -> list[Features]:
    return [extract_features(samples, backbone, folder, progress, trials.limits) for samples in trials.validation]


def _clips(trials: Trials, spec: AudioInput) -> list[FloatArray]:
    """Real clips spread evenly over the validation data."""
    paths = sorted({sample.path for samples in trials.validation for sample in samples})
    chosen = paths[:: max(1, len(paths) // PARITY_CLIPS)][:PARITY_CLIPS]
    return [read_clip(path.read_bytes(), spec.sample_rate_hz, trials.limits) for path in chosen]


def _graph_source(graph_path: Path) -> WeightSource:
    return WeightSource("graph under test", str(graph_path), "", sha256_of(graph_path), "")


def _unchanged(windows: FloatArray) -> FloatArray:
    return windows
