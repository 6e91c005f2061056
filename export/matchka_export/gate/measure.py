"""Measures an exported graph on validation clips, through the session that serves it."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import torch
from rich.progress import Progress

from matchka.bundles.outputs.condition import Condition
from matchka.bundles.outputs.measurements import DimReport, SelectedOn
from matchka.scorers import COSINE, Scorer
from matchka_export.errors import GateError, statable
from matchka_export.gate.band_report import report_bands, scored_by_sample, split_by_condition
from matchka_export.gate.dim_report import Embedded, report_dims
from matchka_export.gate.gate import DimGate, judge
from matchka_export.gate.parity import deal_batches, real_rows, require_parity
from matchka_train.backbones.backbone import Backbone, condition_of, heads_of
from matchka_train.backbones.served_graph import ServedGraph, serve_graph, value_of
from matchka_train.datasets.recipe import DatasetRecipe
from matchka_train.datasets.sample import Sample
from matchka_train.evaluation.identification import IdentificationReport, identification_report
from matchka_train.evaluation.validation import Report, compared, scored_by_domain, unchanged, validate
from matchka_train.features.extraction import extract_features
from matchka_train.features.features import Features, with_trials
from matchka_train.modalities import open_reader
from matchka_train.modalities.modality import join_rows

PARITY_SAMPLES: Final = 12  # real ones; of clips, of all lengths there are


@dataclass(frozen=True)
class Trials:
    """What a graph is measured on.

    Attributes:
        validation: data sets of held-out identities.
        datasets: where each of them comes from, and which of its pairs are compared.
        dims: dims to measure, rising; the last is full_dim.
        limits: which samples are taken, as `data.limits` of a recipe.
        seed: of all draws.
        selected_on: what the validation people decided in training.
        scorer: compares the graph's embeddings; those of the frozen backbone are compared by cosine.
    """

    validation: Sequence[Sequence[Sample]]
    datasets: Sequence[DatasetRecipe]
    dims: tuple[int, ...]
    limits: Mapping[str, object]
    seed: int
    selected_on: SelectedOn
    scorer: Scorer = COSINE


@dataclass(frozen=True)
class Measured:
    """What was found out about a graph.

    Attributes:
        parity: largest absolute difference from torch.
        projected: accuracy of the graph per domain and dim.
        raw: accuracy of the frozen backbone, truncated to the same dims.
        per_dim: as the manifest holds it.
        gate: what the gate found, by dim.
        accepted_worse: why a graph that the gate refused is measured all the same.
        identified: gallery against probes, per domain and dim, where a domain has enough samples of people.
        raw_identified: the same of the frozen backbone.
    """

    parity: float
    projected: Report
    raw: Report
    per_dim: dict[str, DimReport]
    gate: dict[str, DimGate]
    accepted_worse: str | None
    identified: IdentificationReport
    raw_identified: IdentificationReport


def measure_graph(
    graph_path: Path,
    model: torch.nn.Module,
    backbone: Backbone,
    trials: Trials,
    require: Callable[[Mapping[str, DimGate]], str | None],
    progress: Progress,
) -> Measured:
    """Prove parity on real clips, then measure the file itself, on clips it reads for the first time.

    Args:
        graph_path: the written graph; required auxiliary graphs lie beside it.
        model: the torch module it was made from.
        backbone: the frozen network in it.
        trials: what to measure on.
        require: refuses what the gate found, or says why it is accepted all the same.
        progress: shows how far it is.

    Raises: ParityError, BundleError, FeatureError, NoTrialsError, GateError: as the steps below.
    """
    served = serve_graph(graph_path, backbone.input, trials.dims[-1], heads_of(backbone))
    task = progress.add_task("comparing the graph with torch", total=1)
    real = real_rows(open_reader(served, trials.limits, None), _spread(trials))
    parity = require_parity(model, served.session, deal_batches(join_rows(real)))
    progress.advance(task)
    raw_features = _features_anew(backbone.published, trials, progress)
    with tempfile.TemporaryDirectory(prefix="matchka-measure-") as folder:
        features = _features(served, trials, Path(folder), progress)
        _require_same_samples(features, raw_features)
        task = progress.add_task("drawing identities anew", total=1)
        gate = _judge(features, raw_features, backbone, trials)
        accepted_worse = require(gate)
        progress.advance(task)
        embedded = scored_by_domain(unchanged, features, trials.scorer)
        condition = condition_of(backbone)
        bands = None if condition is None else _bands(condition, served, features, trials, Path(folder), progress)
        projected = validate(unchanged, features, trials.dims, trials.scorer)
        identified = identification_report(unchanged, features, trials.dims, trials.scorer)
    raw = validate(unchanged, raw_features, trials.dims)
    task = progress.add_task("operating points", total=len(trials.dims))
    with statable("What was measured of the graph"):
        reports = report_dims(
            embedded, projected, raw, trials.dims, trials.seed, trials.selected_on, lambda: progress.advance(task)
        )
        of_bands = {} if bands is None else {str(dim): report_bands(bands, dim, trials.seed) for dim in trials.dims}
    per_dim = {
        dim: report.model_copy(update={"gate": gate[dim].gate, "order": gate[dim].order, "bands": of_bands.get(dim)})
        for dim, report in reports.items()
    }
    raw_identified = identification_report(unchanged, raw_features, trials.dims)
    return Measured(parity, projected, raw, per_dim, gate, accepted_worse, identified, raw_identified)


def _judge(
    features: list[Features], raw_features: list[Features], backbone: Backbone, trials: Trials
) -> dict[str, DimGate]:
    return judge(
        compared(unchanged, features, trials.scorer),
        compared(unchanged, raw_features),
        trials.dims,
        backbone.published.embedding_dim,
        trials.seed,
    )


def _bands(
    condition: Condition,
    served: ServedGraph,
    features: Sequence[Features],
    trials: Trials,
    folder: Path,
    progress: Progress,
) -> list[Embedded]:
    values = _features(value_of(served, condition.value), trials, folder, progress)
    return split_by_condition(condition, scored_by_sample(features, trials.scorer), values)


def _features(backbone: Backbone, trials: Trials, folder: Path, progress: Progress) -> list[Features]:
    return [
        with_trials(extract_features(samples, backbone, folder, progress, trials.limits), dataset, samples, trials.seed)
        for dataset, samples in zip(trials.datasets, trials.validation, strict=True)
    ]


def _require_same_samples(features: Sequence[Features], raw_features: Sequence[Features]) -> None:
    """Refuse measurements of samples that only one of graph and backbone could read.

    Raises: GateError.
    """
    for ours, raw in zip(features, raw_features, strict=True):
        if ours.paths != raw.paths or not np.array_equal(ours.spans, raw.spans):
            raise GateError(
                f"Graph and frozen backbone could not read the same samples of {ours.domains[0]}.",
                value=f"{len(ours.paths)} and {len(raw.paths)} samples",
                remedy="Find the samples only one of them takes.",
            )


def _features_anew(backbone: Backbone, trials: Trials, progress: Progress) -> list[Features]:
    """Never those of a cache: beside a backbone that was made to look bad, any graph looks good."""
    with tempfile.TemporaryDirectory(prefix="matchka-measure-") as folder:
        found = _features(backbone, trials, Path(folder), progress)
        return [replace(features, windows=np.array(features.windows)) for features in found]


def _spread(trials: Trials) -> list[Sample]:
    """Whole files spread evenly over the validation data."""
    paths = sorted({sample.path for samples in trials.validation for sample in samples})
    chosen = paths[:: max(1, len(paths) // PARITY_SAMPLES)][:PARITY_SAMPLES]
    return [Sample(path, "", "") for path in chosen]
