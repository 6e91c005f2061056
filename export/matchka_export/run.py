"""A checkpoint -> graph -> parity -> measurement -> gate -> bundle, top to bottom; or the pair of files to ship."""

import hashlib
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

from rich.console import Console

from matchka.bundles.bundle import Bundle, read_bundle, sha256_of
from matchka.bundles.manifest import GRAPH_NAME, REPORT_NAME, AuxiliaryPart, Source
from matchka.bundles.outputs.embedding import EmbeddingOutput
from matchka.runtime.atomic_file import atomic_file, write_atomically
from matchka.scorers import COSINE
from matchka_export.bundle import (
    BASE_VERSION,
    Facts,
    as_source,
    content_version,
    library_versions,
    seal,
    staged_bundle,
)
from matchka_export.checkpoint import Checkpoint, read_checkpoint
from matchka_export.errors import statable
from matchka_export.gate.auxiliary import write_auxiliary
from matchka_export.gate.evidence import Evidence, IdentificationRates, write_evidence
from matchka_export.gate.gate import DimGate, gate_table, require_hashes, require_passed
from matchka_export.gate.measure import Measured, Trials, measure_graph
from matchka_export.graph.build import build_graph
from matchka_export.graph.trace import OUTPUT_NAME
from matchka_train.backbones.backbone import Backbone, condition_of, heads_of, measured_heads
from matchka_train.cli.tables import accuracy_table, identification_table
from matchka_train.evaluation.scorer_fit import Embedded, FittedScorer
from matchka_train.evaluation.validation import scored_by_domain
from matchka_train.features.extraction import extract_features
from matchka_train.progress import show_progress
from matchka_train.run.candidate import window_embedder
from matchka_train.weights.packages import DEFAULT_CACHE_DIR

TRAINING_PAGE: Final = "report.html"
PLOTS: Final = "plots"
PLOT_SUFFIXES: Final = (".png", ".svg")


@dataclass(frozen=True)
class ExportOptions:
    """What the caller decides.

    Attributes:
        data: where the manifests of the recipe's data sets lie now; None where the recipe says.
        float16: keep the backbone's weights as 16-bit floats.
        accept_worse: why a graph that the gate refuses ships all the same; None refuses it.
        downloads: the folder that keeps package files.
    """

    data: Path | None = None
    float16: bool = False
    accept_worse: str | None = None
    downloads: Path = DEFAULT_CACHE_DIR


def export_bundle(folder: Path, target: Path, options: ExportOptions, console: Console) -> Bundle:
    """Export a checkpoint, judge the graph, and write the bundle if it passes.

    Args:
        folder: the checkpoint.
        target: the bundle's folder; its name is the model's name.
        options: what the caller decides.
        console: where progress and the table go.

    Raises:
        MatchkaError: no checkpoint, no data, overlapping identities; nothing is written.
        ParityError, GateError: the graph must not ship; nothing is written.
    """
    with show_progress(console) as progress:
        checkpoint = read_checkpoint(folder, options.data, progress)
    backbone = checkpoint.backbone
    with staged_bundle(target) as staged:
        auxiliary = write_auxiliary(backbone, staged, options.downloads)
        scorer = _fit_scorer(checkpoint, backbone, console)
        measured = _build_and_measure(checkpoint, backbone, scorer, staged / GRAPH_NAME, options, console)
        command = f"matchka-export run {folder.as_posix()}"
        with statable(f"The bundle {target.name}"):
            evidence = _evidence(checkpoint, backbone, scorer, measured, options.float16, command)
            write_evidence(staged / REPORT_NAME, evidence)
            for name, content in scorer.files.items():
                (staged / name).write_bytes(content)
            _copy_plots(folder, staged)
            facts = bundle_facts(target.name, backbone, evidence, auxiliary, measured.accepted_worse)
            require_hashes(facts)
            seal(staged, facts)
    return read_bundle(target)


def export_shipped(folder: Path, out: Path, options: ExportOptions, console: Console) -> Evidence:
    """Judge a checkpoint's graph, and write `out/NAME.safetensors` with `out/NAME.json` if it passes.

    A scorer's files lie beside them, each with the name in front.

    Args:
        folder: the checkpoint.
        out: the folder that is written to, once everything is measured.
        options: what the caller decides; a worse graph is never shipped, whatever the reason.
        console: where progress and the table go.

    Raises: MatchkaError: as export_bundle.
    """
    with show_progress(console) as progress:
        checkpoint = read_checkpoint(folder, options.data, progress)
    backbone = checkpoint.backbone
    with tempfile.TemporaryDirectory(prefix="matchka-export-") as scratch:
        write_auxiliary(backbone, Path(scratch), options.downloads)
        scorer = _fit_scorer(checkpoint, backbone, console)
        graph_path, never_worse = Path(scratch) / GRAPH_NAME, replace(options, accept_worse=None)
        measured = _build_and_measure(checkpoint, backbone, scorer, graph_path, never_worse, console)
    command = f"matchka-export measure {folder.as_posix()}"
    with statable("What was measured"):
        evidence = _evidence(checkpoint, backbone, scorer, measured, options.float16, command)
    name = checkpoint.recipe.name
    with atomic_file(out / f"{name}.safetensors") as partial:
        shutil.copyfile(checkpoint.projection_path, partial)
    for file, content in scorer.files.items():
        write_atomically(out / shipped_name(name, file), content)
    write_evidence(out / f"{name}.json", evidence)
    return evidence


def bundle_facts(
    name: str,
    backbone: Backbone,
    evidence: Evidence,
    auxiliary: dict[str, AuxiliaryPart],
    accepted_worse: str | None,
) -> Facts:
    """The manifest's facts, out of measurements that belong to the files at hand."""
    embeddings = EmbeddingOutput(
        full_dim=evidence.full_dim,
        dims=evidence.dims,
        per_dim=evidence.per_dim,
        scorer=evidence.scorer,
        condition=evidence.condition,
    )
    version = content_version(BASE_VERSION, backbone, evidence.projection_sha256, evidence.dims, evidence.float16)
    return Facts(
        name=name,
        version=version,
        task=backbone.input.verification,
        input=backbone.input,
        outputs={OUTPUT_NAME: embeddings, **heads_of(backbone)},
        backbone=as_source(backbone.source),
        projection=Source(
            name=f"{evidence.family} projection",
            source="fitted by matchka-train; measured by " + "; ".join(evidence.commands),
            version=BASE_VERSION,
            sha256=evidence.projection_sha256,
            licence="Apache-2.0",
        ),
        datasets=evidence.datasets,
        accepted_worse=accepted_worse,
        auxiliary=auxiliary,
    )


def shipped_name(model: str, file: str) -> str:
    """What a file of a default bundle is called where its measurements are shipped.

    >>> shipped_name("voice", "scorer.npz")
    'voice.scorer.npz'
    """
    return f"{model}.{file}"


def _fit_scorer(checkpoint: Checkpoint, backbone: Backbone, console: Console) -> FittedScorer:
    """Fit how embeddings are compared, on the training identities and on nobody else."""
    recipe = checkpoint.recipe

    def embedded() -> Embedded:
        with show_progress(console) as progress:
            features = [
                extract_features(samples, backbone, recipe.data.cache_dir, progress, recipe.data.limits)
                for samples in checkpoint.train
            ]
        return scored_by_domain(window_embedder(checkpoint.projection), features, COSINE)

    return recipe.scorer.fit(embedded, checkpoint.info.dims, recipe.seed)


def _build_and_measure(
    checkpoint: Checkpoint,
    backbone: Backbone,
    scorer: FittedScorer,
    graph_path: Path,
    options: ExportOptions,
    console: Console,
) -> Measured:
    recipe = checkpoint.recipe
    trials = Trials(
        checkpoint.validation,
        checkpoint.validation_sets,
        checkpoint.info.dims,
        recipe.data.limits,
        recipe.seed,
        "these people" if recipe.validation_chooses else "nothing",
        scorer.scorer,
    )

    def require(found: Mapping[str, DimGate]) -> str | None:
        console.print(gate_table(found))
        return require_passed(found, options.accept_worse)

    with show_progress(console) as progress:
        task = progress.add_task("exporting the graph", total=1)
        model = build_graph(backbone, checkpoint.projection, graph_path, options.float16)
        progress.advance(task)
        measured = measure_graph(graph_path, model, backbone, trials, require, progress)
    console.print(accuracy_table(measured.projected, measured.raw))
    if measured.identified:
        console.print(identification_table(measured.identified, measured.raw_identified))
    return measured


def _evidence(
    checkpoint: Checkpoint,
    backbone: Backbone,
    scorer: FittedScorer,
    measured: Measured,
    float16: bool,
    command: str,
) -> Evidence:
    """Measurements tied to the files they are of."""
    return Evidence(
        backbone_sha256=backbone.source.sha256,
        projection_sha256=sha256_of(checkpoint.projection_path),
        family=checkpoint.info.family,
        float16=float16,
        parity=measured.parity,
        full_dim=checkpoint.info.dims[-1],
        dims=checkpoint.info.dims,
        per_dim=measured.per_dim,
        scorer=scorer.scoring,
        condition=condition_of(backbone),
        heads=dict(measured_heads(backbone)),
        scorer_sha256={name: hashlib.sha256(content).hexdigest() for name, content in scorer.files.items()},
        identification=_identification(measured),
        datasets=checkpoint.datasets,
        commands=(command,),
        libraries=library_versions(),
    )


def _identification(measured: Measured) -> dict[str, dict[str, dict[str, IdentificationRates]]] | None:
    """What was found where some domain has enough samples of people; the frozen backbone beside it."""
    if not measured.identified:
        return None
    found = {"raw": measured.raw_identified, "projected": measured.identified}
    return {
        name: {
            domain: {str(dim): IdentificationRates(**asdict(rates)) for dim, rates in per_dim.items()}
            for domain, per_dim in report.items()
        }
        for name, report in found.items()
    }


def _copy_plots(folder: Path, staged: Path) -> None:
    """The checkpoint's pictures go along for people to look at; no number in them was used."""
    page = folder / TRAINING_PAGE
    if page.is_file():
        shutil.copyfile(page, staged / f"training_{TRAINING_PAGE}")
    plots = sorted(path for path in (folder / PLOTS).glob("*") if path.suffix in PLOT_SUFFIXES)
    for path in plots:
        (staged / PLOTS).mkdir(exist_ok=True)
        shutil.copyfile(path, staged / PLOTS / path.name)
