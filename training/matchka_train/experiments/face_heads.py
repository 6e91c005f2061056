"""Which of two metrics lies? Classification against contrastive tuning of faces, each watched in two ways.

The task is that of a distant camera: the gallery holds photographs, the probes are low-resolution copies of other
photographs. A run can watch how similar the two views of one training photograph became (the paired similarity, which
needs nobody else), or match probes of people it never saw against a gallery, as the model will be used.
"""

import copy
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final, Literal

import numpy as np
import torch
from pydantic import Field
from rich.progress import Progress

from matchka_train.backbones.face.recipes import DlibRecipe
from matchka_train.datasets.reader import read_dataset
from matchka_train.datasets.sample import Sample
from matchka_train.datasets.splits import first_clips, require_disjoint
from matchka_train.errors import DatasetError, RecipeError
from matchka_train.experiments.gallery_probe import GalleryProbe, gallery_probe, paired_similarity
from matchka_train.experiments.results import RunFolder
from matchka_train.experiments.trunk import DlibTail, DlibTrunk, descriptor_of
from matchka_train.features.embedding import embed_windows
from matchka_train.features.extraction import extract_features
from matchka_train.features.features import Features, join_features
from matchka_train.fitting.batches import ClipBatch, TrainingClips, epoch_of_batches
from matchka_train.fitting.losses import LossRecipe, MatryoshkaLoss
from matchka_train.fitting.schedule import OptimisationRecipe
from matchka_train.projections.trained.linear import LinearProjection, LinearRecipe
from matchka_train.run.recipe import Recipe
from matchka_train.strict_model import StrictModel

Place = Literal["projection", "last block"]
LossName = Literal["arcface", "info_nce"]
Arm = tuple[Place, LossName, int]
LOSSES: Final[tuple[LossName, ...]] = ("arcface", "info_nce")
PLACES: Final[tuple[Place, ...]] = ("projection", "last block")
EMBEDDING_DIM: Final = 128
ALL: Final = 1_000_000


class FaceHeadsRecipe(StrictModel):
    """One experiment; the contrastive values are those of the report it answers.

    Attributes:
        seeds: every arm is run with each.
        epochs: passes over the training pictures in both views.
        learning_rate: of the last block and the head.
        projection_learning_rate: of a projection, which starts at random, and of the classifier.
        low_resolution_px: rows and columns of a probe's face.
        people_per_batch: in a batch.
        images_per_person: in a batch, of both views.
        people: of training and of validation, at most.
        pictures_each: photographs of each at most, so that nobody dominates.
        arcface: the classification loss.
        info_nce: the contrastive loss.
    """

    seeds: tuple[int, ...] = Field(default=(0, 1, 2), min_length=1)
    epochs: int = Field(default=8, ge=2)
    learning_rate: float = Field(default=1e-4, gt=0)
    projection_learning_rate: float = Field(default=1e-3, gt=0)
    low_resolution_px: int = Field(default=16, ge=4, le=150)
    people_per_batch: int = Field(default=4, ge=2)
    images_per_person: int = Field(default=4, ge=2)
    people: int = Field(default=ALL, ge=2)
    pictures_each: int = Field(default=6, ge=2)
    arcface: LossRecipe = LossRecipe(kind="aam_softmax", margin=0.5, scale=64.0)
    info_nce: LossRecipe = LossRecipe(kind="info_nce", temperature=0.07)


@dataclass(frozen=True)
class FaceEpoch:
    """What one epoch left.

    Attributes:
        epoch: from 0, the start.
        train_loss: mean over its steps; None for the start.
        paired: mean similarity of the two views of each training photograph.
        unseen: gallery against probes of held-out people.
    """

    epoch: int
    train_loss: float | None
    paired: float
    unseen: GalleryProbe


@dataclass(frozen=True)
class FaceRun:
    """One arm with one seed."""

    place: Place
    loss: LossName
    seed: int
    epochs: tuple[FaceEpoch, ...]


@dataclass(frozen=True)
class FaceHeads:
    """What the experiment found.

    Attributes:
        untouched: the backbone as it was published.
        runs: every arm with every seed.
        counts: part -> people and photographs it rests on.
    """

    untouched: FaceEpoch
    runs: tuple[FaceRun, ...]
    counts: dict[str, tuple[int, int]]


@dataclass(frozen=True)
class _Views:
    """The same photographs twice, row by row: as they are, and at low resolution."""

    high: Features
    low: Features

    def through(self, module: torch.nn.Module) -> "_Views":
        """What a network makes of both."""
        high, low = (replace(part, windows=embed_windows(module, part.windows)) for part in (self.high, self.low))
        return _Views(high, low)


def run_face_heads(base: Recipe, recipe: FaceHeadsRecipe, output_dir: Path, progress: Progress) -> FaceHeads:
    """Run every arm with every seed.

    Args:
        base: its first training and its first validation data set are used, and its cache folder.
        recipe: the experiment.
        output_dir: keeps every finished run, so that the same call goes on where it stopped.
        progress: shows how far it is.

    Raises:
        RecipeError: the base recipe has another backbone.
        MatchkaError: a data set or the weights are not there.
    """
    if not isinstance(base.backbone, DlibRecipe):
        raise RecipeError(
            "Only dlib's descriptor can be tuned here.", value=base.backbone.kind, remedy="Give a recipe with it."
        )
    train, unseen = _read(base, base.backbone.downloads_dir, recipe, progress)
    tail = DlibTail(descriptor_of(base.backbone.downloads_dir)).eval()
    activations = {"train": train, "unseen": unseen}
    descriptors = {name: views.through(tail) for name, views in activations.items()}
    untouched = _judge(descriptors, torch.nn.Identity(), 0, None, None)
    threshold = untouched.unseen.threshold
    folder = RunFolder(output_dir, base.data, recipe.model_copy(update={"seeds": (0,)}))
    arms = [(place, loss, seed) for place in PLACES for loss in LOSSES for seed in recipe.seeds]
    task = progress.add_task("runs", total=len(arms))
    runs = []
    for place, loss, seed in arms:
        rows = descriptors if place == "projection" else activations
        arm = partial(_run_arm, rows, recipe, (place, loss, seed), tail, threshold, progress)
        runs.append(folder.kept_or(f"{place}-{loss}-seed-{seed}".replace(" ", "-"), FaceRun, arm))
        progress.advance(task)
    counts = {name: (len(set(v.high.subjects)), len(v.high.subjects)) for name, v in activations.items()}
    return FaceHeads(untouched, tuple(runs), counts)


def _read(base: Recipe, downloads: Path, recipe: FaceHeadsRecipe, progress: Progress) -> tuple[_Views, _Views]:
    train = first_clips(_several_each(read_dataset(base.data.train[0])), recipe.people, recipe.pictures_each)
    judged = first_clips(read_dataset(base.data.validation[0]), recipe.people, recipe.pictures_each)
    require_disjoint(train, judged)

    trunk = DlibTrunk(downloads, recipe.low_resolution_px)

    def both(samples: list[Sample]) -> _Views:
        views = extract_features(samples, trunk, base.data.cache_dir, progress, base.data.limits)
        high, low = (np.array(half) for half in np.split(views.windows, 2, axis=1))
        return _Views(replace(views, windows=high), replace(views, windows=low))

    if len({sample.subject for sample in train}) < recipe.people_per_batch:
        raise DatasetError(
            f"A batch needs {recipe.people_per_batch} people with two photographs.",
            value=len({sample.subject for sample in train}),
            remedy="Add pictures, or set people_per_batch lower.",
        )
    return both(train), both(judged)


def _several_each(samples: list[Sample]) -> list[Sample]:
    """Only people of two photographs or more: those that a batch can hold different pictures of."""
    counts = Counter(sample.subject for sample in samples)
    return [sample for sample in samples if counts[sample.subject] > 1]


def _run_arm(
    rows: dict[str, _Views], recipe: FaceHeadsRecipe, arm: Arm, tail: DlibTail, fixed: float, progress: Progress
) -> FaceRun:
    place, loss, seed = arm
    task = progress.add_task(f"{place}, {loss}, seed {seed}", total=recipe.epochs)
    epochs = []
    for epoch in _epochs(rows, recipe, arm, tail, fixed):
        epochs.append(epoch)
        progress.update(task, completed=epoch.epoch)
    progress.remove_task(task)
    return FaceRun(place, loss, seed, tuple(epochs))


def _epochs(
    rows: dict[str, _Views], recipe: FaceHeadsRecipe, arm: Arm, tail: DlibTail, fixed: float
) -> Iterator[FaceEpoch]:
    """One arm with one seed: the start, then every epoch as it ends."""
    place, loss_name, seed = arm
    torch.manual_seed(seed)
    model, rate = _begin(place, tail, recipe)
    clips = TrainingClips(join_features([rows["train"].high, rows["train"].low]), pooled=True)
    chosen = recipe.arcface if loss_name == "arcface" else recipe.info_nce
    loss = MatryoshkaLoss(chosen, (EMBEDDING_DIM,), clips.identities, 1)
    schedule = OptimisationRecipe(epochs=recipe.epochs, warmup_epochs=1)
    groups = [{"params": list(model.parameters()), "top": rate}]
    if inside := list(loss.parameters()):
        groups.append({"params": inside, "top": recipe.projection_learning_rate})
    optimiser = torch.optim.AdamW(groups, weight_decay=schedule.weight_decay)
    yield _judge(rows, model, 0, None, fixed)
    for epoch in range(1, recipe.epochs + 1):
        generator = np.random.default_rng([seed, epoch])
        steps = list(epoch_of_batches(clips, recipe.people_per_batch, recipe.images_per_person, generator))
        losses = []
        for step, (batch,) in enumerate(steps):
            for group in optimiser.param_groups:
                group["lr"] = group["top"] * schedule.rate_at(epoch - 1 + (step + 1) / len(steps))
            losses.append(_step(model.train(), loss, optimiser, batch))
        yield _judge(rows, model, epoch, float(np.mean(losses)), fixed)


def _begin(place: Place, tail: DlibTail, recipe: FaceHeadsRecipe) -> tuple[torch.nn.Module, float]:
    """What is trained, at its start, and how fast."""
    if place == "projection":
        return LinearProjection(EMBEDDING_DIM, EMBEDDING_DIM, LinearRecipe()), recipe.projection_learning_rate
    return copy.deepcopy(tail).requires_grad_(), recipe.learning_rate


def _step(model: torch.nn.Module, loss: MatryoshkaLoss, optimiser: torch.optim.Optimizer, batch: ClipBatch) -> float:
    value: torch.Tensor = loss(model(batch.rows), batch)
    optimiser.zero_grad()
    value.backward()  # type: ignore[no-untyped-call]
    optimiser.step()
    return float(value.detach())


def _judge(
    rows: dict[str, _Views], model: torch.nn.Module, epoch: int, train_loss: float | None, fixed: float | None
) -> FaceEpoch:
    seen, unseen = (rows[name].through(model.eval()) for name in ("train", "unseen"))
    paired = paired_similarity(seen.high.windows, seen.low.windows)
    found = gallery_probe(unseen.high.windows, unseen.low.windows, list(unseen.high.subjects), fixed)
    return FaceEpoch(epoch, train_loss, paired, found)
