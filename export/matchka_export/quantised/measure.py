"""Learning the numbers of an 8-bit graph on training people, and the interchange test on people who trained nothing."""

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import onnx
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from matchka.bundles.bundle import Bundle, sha256_of
from matchka.bundles.outputs.embedding import EMBEDDINGS, EmbeddingOutput
from matchka.bundles.scorers import open_scorer
from matchka.bundles.variant import Interchange
from matchka.inference.graphs.cpu import cpu_model
from matchka_export.bundle import library_versions
from matchka_export.errors import GateError
from matchka_export.gate.parity import real_rows
from matchka_export.quantised.evidence import QuantisedEvidence
from matchka_export.quantised.files import INT8_NAME
from matchka_export.quantised.gate import put_beside
from matchka_export.quantised.interchange import BothGraphs, interchange_of, require_interchangeable
from matchka_export.quantised.quantiser import fit_quantiser
from matchka_export.quantised.write import GraphForm, write_quantised_graph
from matchka_train.backbones.served_graph import ServedGraph, serve_bundle
from matchka_train.datasets.sample import Sample
from matchka_train.datasets.splits import flat
from matchka_train.evaluation.validation import scored_by_domain, unchanged
from matchka_train.features.extraction import extract_features
from matchka_train.metrics.scored_embeddings import ScoredEmbeddings
from matchka_train.modalities import modality_of, open_reader
from matchka_train.modalities.modality import Rows, join_rows
from matchka_train.progress import show_progress
from matchka_train.run.data import DataSets, read_data
from matchka_train.run.recipe import Recipe

CALIBRATION_SAMPLES: Final = 1024  # of 256, the ranges leave out some faces, whose cosine falls below the least
COMPARED_ROWS: Final = 64


@dataclass(frozen=True)
class _Measuring:
    """What is measured: a bundle with its graph in 32 bits, and the people of its recipe."""

    bundle: Bundle
    recipe: Recipe
    data: DataSets
    own: ServedGraph

    @property
    def embedding(self) -> EmbeddingOutput:
        return self.bundle.manifest.output(EmbeddingOutput)

    @property
    def form(self) -> GraphForm:
        outputs = self.bundle.manifest.outputs
        heads = {name: output for name, output in outputs.items() if not isinstance(output, EmbeddingOutput)}
        return GraphForm(self.bundle.manifest.input, self.embedding.full_dim, heads)


def measure_quantised(bundle: Bundle, recipe: Recipe, command: str, console: Console) -> QuantisedEvidence:
    """Write a bundle's graph in 8 bits, with numbers learned on training people, and judge it on the others.

    Args:
        bundle: with the graph in 32 bits, of exact rewrites.
        recipe: names the people who trained it, and those who judge.
        command: that finds the same again.
        console: where progress and the table go.

    Raises:
        QuantisationError: nothing is known of how to write this graph in 8 bits, or the samples show nothing.
        GateError: it is not like the graph in 32 bits, or not faster; nothing is written.
        MatchkaError: as read_data.
    """
    own = serve_bundle(bundle)
    with show_progress(console) as progress, tempfile.TemporaryDirectory(prefix="matchka-quantise-") as scratch:
        data = read_data(recipe.data, modality_of(own).copies, recipe.data.cache_dir, progress)
        measuring = _Measuring(bundle, recipe, data, own)
        rows = _training_rows(measuring)
        quantiser = fit_quantiser(onnx.load(str(bundle.graph_path)), rows)
        path = Path(scratch) / INT8_NAME
        write_quantised_graph(bundle.graph_path, path, quantiser)
        sessions = measuring.form.open(bundle.graph_path), measuring.form.open(path)
        beside = put_beside(*sessions, EMBEDDINGS, rows[:COMPARED_ROWS])
        source = replace(own.source, name="8-bit graph", sha256=sha256_of(path))
        variant = replace(own, name="8-bit graph", source=source, session=measuring.form.open(path))
        found = _interchange(measuring, variant, Path(scratch), progress)
    console.print(interchange_table(found))
    console.print(f"The 8-bit graph is {beside}.", highlight=False)
    require_interchangeable(found, quantiser.least_cosine)
    if (refusal := beside.refusal(quantiser.least_cosine)) is not None:
        raise GateError(f"The 8-bit graph does not ship: {refusal}.", remedy="Nothing was written.")
    return QuantisedEvidence(
        backbone_sha256=bundle.manifest.backbone.sha256,
        projection_sha256=bundle.manifest.projection.sha256,
        quantiser=quantiser,
        calibrated_on=_calibrated_on(measuring, len(rows)),
        interchange=found,
        speed=min(beside.speed.values()),
        measured_on=cpu_model(),
        command=command,
        libraries=library_versions(),
    )


def interchange_table(found: dict[str, Interchange]) -> Table:
    """What the interchange test found, for people: rates and points in per cent."""
    table = Table(title="Interchange: samples of the 8-bit graph beside and against those of the graph in 32 bits")
    for column in ("domain", "dim", "EER %", "mixed", "bound", "8 bits", "its bound", "FMR times", "least cosine"):
        table.add_column(column)
    for domain, at in found.items():
        for dim, rates in at.per_dim.items():
            table.add_row(
                domain,
                dim,
                *(f"{100 * rate:.2f}" for rate in (rates.eer, rates.mixed_eer)),
                f"{100 * rates.mixed_upper:+.2f}",
                f"{100 * rates.variant_eer:.2f}",
                f"{100 * rates.variant_upper:+.2f}",
                "-" if rates.fmr_ratio is None else f"{rates.fmr_ratio:.2f}",
                f"{at.least_cosine:.5f}",
            )
        table.add_section()
    return table


def _training_rows(measuring: _Measuring) -> Rows:
    """One row each of samples spread evenly over the training people."""
    samples = [Sample(path, "", "") for path in sorted({sample.path for sample in flat(measuring.data.train)})]
    chosen = samples[:: max(1, len(samples) // CALIBRATION_SAMPLES)][:CALIBRATION_SAMPLES]
    reader = open_reader(measuring.own, measuring.recipe.data.limits, None)
    return join_rows([rows[:1] for rows in real_rows(reader, chosen)])


def _calibrated_on(measuring: _Measuring, rows: int) -> str:
    corpora = sorted({dataset.corpus for dataset in measuring.recipe.data.train})
    return f"{rows} samples of training people of {', '.join(corpora)}"


def _interchange(
    measuring: _Measuring, variant: ServedGraph, folder: Path, progress: Progress
) -> dict[str, Interchange]:
    scorer = open_scorer(measuring.bundle.path, measuring.bundle.manifest)

    def embedded(graph: ServedGraph) -> dict[str, tuple[ScoredEmbeddings, list[str]]]:
        limits = measuring.recipe.data.limits
        features = [extract_features(samples, graph, folder, progress, limits) for samples in measuring.data.validation]
        return scored_by_domain(unchanged, features, scorer)

    own, other = embedded(measuring.own), embedded(variant)
    thresholds = {
        int(dim): [point.threshold for point in report.operating_points["1"]]
        for dim, report in measuring.embedding.per_dim.items()
    }
    task = progress.add_task("comparing the two graphs' samples", total=len(own))
    found = {}
    for domain, (embeddings, subjects) in own.items():
        if other[domain][1] != subjects:
            raise GateError(
                "The two graphs could not read the same samples.", value=domain, remedy="Nothing was written."
            )
        both = BothGraphs(embeddings, other[domain][0], subjects)
        found[domain] = interchange_of(both, thresholds, measuring.recipe.seed)
        progress.advance(task)
    return found
