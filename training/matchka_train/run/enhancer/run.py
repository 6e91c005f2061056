"""One run of `task: enhancer`: pictures -> small samples -> enhancer -> gallery against probes -> checkpoint."""

import hashlib
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from rich.progress import Progress, TaskID

from matchka.bundles.bundle import sha256_of
from matchka_train.backbones.backbone import Backbone
from matchka_train.backbones.face.enhancer import Enhancer
from matchka_train.backbones.face.enhancer_file import (
    EnhancerDescription,
    TrainedEnhancer,
    enhance_all,
    read_enhancer,
    write_enhancer,
)
from matchka_train.errors import WeightsError
from matchka_train.evaluation.small_probes import probe_pairs
from matchka_train.fitting.enhancer.loop import EnhancerTraining, train_enhancer
from matchka_train.metrics.error_rates import equal_error_rate
from matchka_train.modalities import modality_of
from matchka_train.modalities.photographs import require_faces
from matchka_train.modalities.small_faces import ALIGNED, WHOLE
from matchka_train.projections.storage import load_projection, require_backbone
from matchka_train.run.checkpoint import RECIPE_NAME, CheckpointFolder
from matchka_train.run.data import DataSets, read_data
from matchka_train.run.enhancer.measured import ProbeReport, report_probes
from matchka_train.run.enhancer.prepared import (
    Embedder,
    Part,
    PreparedFaces,
    SmallBatches,
    bank_of,
    prepare_faces,
)
from matchka_train.run.enhancer.recipe import EnhancerRecipe
from matchka_train.run.recipe import write_recipe
from matchka_train.run.record import record_of_content

ENHANCER_NAME: Final = "enhancer.safetensors"
CHOOSING_WAYS: Final = (ALIGNED, WHOLE)
SMALLEST_EER: Final = 1e-4  # of few people; its logarithm is finite
RECENT: Final = 250  # steps of the mean loss that is shown


def run_enhancer(recipe: EnhancerRecipe, progress: Progress, *, fresh: bool = False) -> tuple[ProbeReport, ...]:
    """Train by a recipe and write the checkpoint; an interrupted run of the same recipe goes on where it stopped.

    Args:
        recipe: validated.
        progress: shows how far it is.
        fresh: forget what an earlier run left in the folder.

    Raises: MatchkaError: a data set, a backbone or the fit is not what the recipe says; what was good is kept.
    """
    backbone = recipe.backbone.open()
    data = read_data(recipe.data, modality_of(backbone).copies, recipe.data.cache_dir, progress)
    prepared = prepare_faces(recipe.data, backbone, data, progress)
    embedder = open_embedder(recipe, backbone)
    description = _description(recipe, backbone, data)
    folder = CheckpointFolder(recipe.output_dir, _identity(description))
    if fresh:
        folder.clear_state()
    folder.prepare()
    trained = train_by(recipe, backbone, prepared, embedder, folder, progress)
    path = folder.path / ENHANCER_NAME
    write_enhancer(path, trained, description)
    write_recipe(folder.path / RECIPE_NAME, recipe)
    reports = report_probes(recipe, prepared.reported, embedder, read_enhancer(path), progress)
    folder.keep_report({"enhancer": sha256_of(path), "probes": [_as_json(report) for report in reports]})
    return reports


def train_by(
    recipe: EnhancerRecipe,
    backbone: Backbone,
    prepared: PreparedFaces,
    embedder: Embedder,
    folder: CheckpointFolder,
    progress: Progress,
) -> Enhancer:
    """The enhancer that held-out people chose."""
    torch.manual_seed(recipe.seed)
    network = recipe.network.build(prepared.train.shrinker.spec.chip_px)
    if recipe.start is not None:
        network.load_state_dict(_start(recipe, recipe.start, backbone).network.state_dict())
    batches = SmallBatches.of(prepared.train, recipe.probes, recipe.optimisation)
    choosing = _Choosing(recipe, prepared.held_out, embedder)
    training = EnhancerTraining(
        backbone.published.module(), bank_of(prepared.train, backbone.published), batches.draw, choosing.rate
    )
    store = _FolderStore(folder, progress, progress.add_task(recipe.name, total=recipe.optimisation.steps))
    state = train_enhancer(network, training, recipe.loss, recipe.optimisation, recipe.seed, store)
    network.load_state_dict(state.best)
    return network.requires_grad_(False).eval()


def open_embedder(recipe: EnhancerRecipe, backbone: Backbone) -> Embedder:
    """Backbone and projection of a recipe.

    Raises: CheckpointError: the projection was fitted on another backbone.
    """
    if recipe.projection is None:
        return Embedder(backbone.module(), torch.nn.Identity())
    projection, info = load_projection(recipe.projection)
    require_backbone(info, backbone)
    return Embedder(backbone.module(), projection)


def _start(recipe: EnhancerRecipe, path: Path, backbone: Backbone) -> TrainedEnhancer:
    """An enhancer to go on from.

    Raises: WeightsError: none, or one of other parts, or through another backbone.
    """
    found = read_enhancer(path)
    described = found.description
    if (described.parts, described.backbone_sha256) != (recipe.network, backbone.source.sha256):
        raise WeightsError(
            f"{path} has other parts, or was trained through another backbone than {backbone.name}.",
            value=f"{described.parts}, {described.backbone}",
            remedy="Give an enhancer of the same `network` and `backbone`, or leave `start` out.",
        )
    return found


class _Choosing:
    """The mean logarithm of held-out people's EERs: a per cent fewer errors counts the same at every size."""

    def __init__(self, recipe: EnhancerRecipe, part: Part, embedder: Embedder) -> None:
        self._embedder = embedder
        self._subjects = part.photographs.subjects
        self._dim = recipe.dims[-1]
        self._small = [part.small(size, way) for size in recipe.choosing_px for way in CHOOSING_WAYS]
        self._full = embedder.embed(part.full)

    def rate(self, network: torch.nn.Module) -> float:
        """Lower is better."""
        rates = []
        for small in self._small:
            probes = self._embedder.embed(enhance_all(network, small.chips, small.native_px))
            pairs = probe_pairs(self._full, probes, self._subjects, self._dim)
            rates.append(math.log(max(equal_error_rate(pairs.mated, pairs.non_mated), SMALLEST_EER)))
        return float(np.mean(rates))


@dataclass(frozen=True)
class _FolderStore:
    """Keeps the latest state; writes the progress line."""

    folder: CheckpointFolder
    progress: Progress
    task: TaskID

    def resume(self) -> dict[str, Any] | None:
        return self.folder.state()

    def keep(self, content: dict[str, Any]) -> None:
        self.folder.keep_state(content)
        losses, looks = content["losses"], content["looks"]
        line = f"step {content['step']}, loss {np.mean(losses[-RECENT:]):.4f}"
        if looks:
            line += f", EER {100 * math.exp(looks[-1][1]):.2f} % on held-out people (mean over sizes)"
        self.progress.update(self.task, completed=content["step"], line=line)


def _description(recipe: EnhancerRecipe, backbone: Backbone, data: DataSets) -> EnhancerDescription:
    content = recipe.model_dump(mode="json", exclude={"task", "backbone", "projection", "output_dir", "start"})
    judged_by = None if recipe.projection is None else sha256_of(recipe.projection)
    training = recipe.model_dump(mode="json", include={"seed", "network", "probes", "loss", "optimisation"})
    if recipe.start is not None:
        start = _start(recipe, recipe.start, backbone)
        content["start"] = start.sha256
        training["start"] = {"sha256": start.sha256, "training": start.description.training}
    return EnhancerDescription(
        chip_px=require_faces(backbone).chip_px,
        parts=recipe.network,
        backbone=backbone.name,
        backbone_sha256=backbone.source.sha256,
        training=training,
        record=record_of_content(content | {"projection": judged_by}, data),
        datasets=tuple(
            {"name": dataset.corpus, "source": dataset.source, "licence": dataset.licence, "use": use}
            for use, datasets in (("enhancer trained", recipe.data.train), ("reported", recipe.data.validation))
            for dataset in datasets
        ),
    )


def _identity(description: EnhancerDescription) -> str:
    """Hash of all that training depends on: recipe, backbone and what the data sets held."""
    parts = [sorted(description.record.items()), description.backbone, description.backbone_sha256]
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _as_json(report: ProbeReport) -> dict[str, Any]:
    return asdict(report)
