"""Does unfreezing the backbone help? A frozen backbone against one that is unfrozen after a few epochs.

Both arms start alike: a random projection under one AAM-softmax classifier per dim. What is watched is what such a run
shows (training loss, loss on other utterances of the same speakers) and what it is for (EER on people it never heard).
"""

import copy
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final, Literal

import numpy as np
import torch
from pydantic import Field
from rich.progress import Progress

from matchka_train.backbones.speaker.ge2e import EMBEDDING_DIM, Ge2e, Ge2eEncoder
from matchka_train.backbones.speaker.recipes import Ge2eRecipe
from matchka_train.datasets.reader import read_dataset
from matchka_train.datasets.sample import Sample
from matchka_train.datasets.splits import first_clips, flat, require_disjoint
from matchka_train.errors import DatasetError, RecipeError
from matchka_train.evaluation.validation import EmbedWindows, unchanged, validate
from matchka_train.experiments.results import RunFolder
from matchka_train.experiments.spectra import Ge2eSpectra, TunedEncoder, encoder_of, every_row, one_row_of_each
from matchka_train.features.embedding import embed_windows
from matchka_train.features.extraction import extract_features
from matchka_train.features.features import Features
from matchka_train.fitting.batches import ClipBatch, TrainingClips, epoch_of_batches
from matchka_train.fitting.losses import LossRecipe, MatryoshkaLoss
from matchka_train.fitting.schedule import OptimisationRecipe
from matchka_train.projections.trained.linear import LinearProjection, LinearRecipe
from matchka_train.run.recipe import Recipe
from matchka_train.strict_model import StrictModel

Windows = Literal["one", "every", "mean"]
WINDOWS: Final[dict[Windows, str]] = {"one": "one window", "every": "every window", "mean": "mean of windows"}
NEVER: Final = 9999  # freeze_backbone_epochs that no run reaches: the backbone stays frozen
ALL: Final = 1_000_000


class ArmRecipe(StrictModel):
    """One way to train.

    Attributes:
        freeze_backbone_epochs: the backbone is frozen for so many epochs (9999: for ever).
        dropout: share of the backbone's components that the projection drops in training.
        windows: what an epoch takes of a clip: one window of 1.6 s, every window by itself, or the mean of all.
    """

    freeze_backbone_epochs: int = Field(default=NEVER, ge=0)
    dropout: float = Field(default=0.1, ge=0, lt=1)
    windows: Windows = "one"

    @property
    def name(self) -> str:
        """As tables and figures call it."""
        frozen = self.freeze_backbone_epochs == NEVER
        parts = ["frozen" if frozen else f"unfrozen after epoch {self.freeze_backbone_epochs}"]
        parts += ["no dropout"] if not self.dropout else []
        parts += [] if self.windows == "one" else [WINDOWS[self.windows]]
        return ", ".join(parts)


class TwoStageRecipe(StrictModel):
    """One experiment; loss and optimiser as in the runs it answers, on smaller data.

    Attributes:
        arms: what is compared; by default both published arms, and a frozen one that has all a frozen one can have.
        seeds: each arm is run with each.
        dims: of the classifiers, rising.
        epochs: passes over the training clips.
        clips_each: training clips of each speaker.
        held_out_each: further clips of the same speakers, for the classification loss.
        validation_clips_each: clips of each unseen speaker.
        validate_every: epochs from one look at unseen speakers to the next.
        speakers: trained on, at most.
        unseen: speakers judged on in every domain, at most.
        learning_rate: of projection and classifiers.
        backbone_learning_rate: of the backbone once it is unfrozen.
        identities_per_batch: of two clips each.
        loss: as in a recipe.
    """

    arms: tuple[ArmRecipe, ...] = Field(
        default=(ArmRecipe(), ArmRecipe(freeze_backbone_epochs=4), ArmRecipe(dropout=0, windows="every")), min_length=1
    )
    seeds: tuple[int, ...] = Field(default=(0, 1, 2), min_length=1)
    dims: tuple[int, ...] = (32, 64, 128, 256)
    epochs: int = Field(default=16, ge=3)
    clips_each: int = Field(default=10, ge=2)
    held_out_each: int = Field(default=3, ge=1)
    validation_clips_each: int = Field(default=6, ge=2)
    validate_every: int = Field(default=2, ge=1)
    speakers: int = Field(default=ALL, ge=2)
    unseen: int = Field(default=ALL, ge=2)
    learning_rate: float = Field(default=1e-3, gt=0)
    backbone_learning_rate: float = Field(default=3e-4, gt=0)
    identities_per_batch: int = Field(default=32, ge=2)
    loss: LossRecipe = LossRecipe()


@dataclass(frozen=True)
class Epoch:
    """What one epoch left.

    Attributes:
        epoch: from 0, the random start.
        frozen: whether the backbone was.
        train_loss: mean over its steps; None for the start.
        held_out_loss: of other utterances of the training speakers.
        eer: domain -> dim -> EER on unseen people, a fraction.
    """

    epoch: int
    frozen: bool
    train_loss: float | None
    held_out_loss: float
    eer: dict[str, dict[int, float]]


@dataclass(frozen=True)
class Run:
    """One arm with one seed."""

    arm: ArmRecipe
    seed: int
    epochs: tuple[Epoch, ...]


@dataclass(frozen=True)
class TwoStage:
    """What the experiment found.

    Attributes:
        runs: every arm with every seed.
        raw: domain -> dim -> EER of the untouched backbone, truncated.
        counts: part -> speakers and clips it rests on.
    """

    runs: tuple[Run, ...]
    raw: dict[str, dict[int, float]]
    counts: dict[str, tuple[int, int]]


def arms_of(found: TwoStage) -> list[ArmRecipe]:
    """The arms that were run, in their order."""
    return list(dict.fromkeys(run.arm for run in found.runs))


@dataclass(frozen=True)
class _Part:
    """One data set twice: spectra for an encoder that changes, its embeddings for a frozen one."""

    spectra: Features
    embeddings: Features

    def rows(self, *, frozen: bool) -> Features:
        return self.embeddings if frozen else self.spectra


@dataclass(frozen=True)
class _Data:
    encoder: Ge2eEncoder
    train: _Part
    held_out: _Part
    validation: tuple[_Part, ...]


def run_two_stage(base: Recipe, recipe: TwoStageRecipe, output_dir: Path, progress: Progress) -> TwoStage:
    """Run every arm with every seed.

    Args:
        base: its first training data set and its validation data sets are used, and its cache folder.
        recipe: the experiment.
        output_dir: keeps every finished run, so that the same call goes on where it stopped.
        progress: shows how far it is.

    Raises:
        RecipeError: the base recipe has another backbone.
        MatchkaError: a data set or the weights are not there.
    """
    data = _prepare(base, recipe, progress)
    shared = recipe.model_copy(update={"seeds": (0,), "arms": (ArmRecipe(),)})
    folder = RunFolder(output_dir, base.data, shared)
    seeded = [(arm, seed) for arm in recipe.arms for seed in recipe.seeds]
    task = progress.add_task("runs", total=len(seeded))
    runs = []
    for arm, seed in seeded:
        name = f"{re.sub('[^a-z0-9]+', '-', arm.name)}-dropout-{arm.dropout:g}-seed-{seed}"
        runs.append(folder.kept_or(name, Run, partial(_run_arm, data, recipe, arm, seed, progress)))
        progress.advance(task)
    raw = _rates(unchanged, [part.embeddings for part in data.validation], recipe.dims)
    parts = {"train": data.train, "held out": data.held_out, **{p.spectra.domains[0]: p for p in data.validation}}
    counts = {name: (len(set(p.spectra.subjects)), len(p.spectra.subjects)) for name, p in parts.items()}
    return TwoStage(tuple(runs), raw, counts)


def _prepare(base: Recipe, recipe: TwoStageRecipe, progress: Progress) -> _Data:
    if not isinstance(base.backbone, Ge2eRecipe):
        raise RecipeError(
            "Only the GE2E encoder can be unfrozen here.", value=base.backbone.kind, remedy="Give a recipe with it."
        )
    per_speaker = recipe.clips_each + recipe.held_out_each
    spoken = first_clips(read_dataset(base.data.train[0]), recipe.speakers, per_speaker)
    train = first_clips(spoken, recipe.speakers, recipe.clips_each)
    held_out = [sample for sample in spoken if sample not in set(train)]
    if {sample.subject for sample in train} != {sample.subject for sample in held_out}:
        raise DatasetError(
            f"Every training speaker needs {per_speaker} clips.",
            value=base.data.train[0].path,
            remedy="Lower clips_each or held_out_each with --set.",
        )
    judged = [
        first_clips(read_dataset(dataset), recipe.unseen, recipe.validation_clips_each)
        for dataset in base.data.validation
    ]
    require_disjoint(spoken, flat(judged))
    downloads = base.backbone.downloads_dir

    def part(samples: list[Sample]) -> _Part:
        found = (
            extract_features(samples, backbone, base.data.cache_dir, progress, base.data.limits)
            for backbone in (Ge2eSpectra(downloads), Ge2e(downloads))
        )
        # in memory: they are read again in every epoch
        return _Part(*(replace(features, windows=np.array(features.windows)) for features in found))

    parts = (part(train), part(held_out), *(part(samples) for samples in judged))
    return _Data(encoder_of(downloads), parts[0], parts[1], parts[2:])


def _run_arm(data: _Data, recipe: TwoStageRecipe, arm: ArmRecipe, seed: int, progress: Progress) -> Run:
    task = progress.add_task(f"{arm.name}, seed {seed}", total=recipe.epochs)
    epochs = []
    for epoch in _Arm(data, recipe, arm, seed).epochs():
        epochs.append(epoch)
        rates = ", ".join(f"{domain} {100 * rate[recipe.dims[-1]]:.2f}" for domain, rate in epoch.eer.items())
        progress.update(task, completed=epoch.epoch, line=f"epoch {epoch.epoch}, EER % {rates}")
    progress.remove_task(task)
    return Run(arm, seed, tuple(epochs))


class _Arm:
    """One arm with one seed; every random choice follows from the seed and the epoch."""

    def __init__(self, data: _Data, recipe: TwoStageRecipe, arm: ArmRecipe, seed: int) -> None:
        torch.manual_seed(seed)
        self.data, self.recipe, self.arm, self.seed = data, recipe, arm, seed
        projection = LinearProjection(EMBEDDING_DIM, recipe.dims[-1], LinearRecipe(dropout=arm.dropout))
        self.net = TunedEncoder(copy.deepcopy(data.encoder), projection)
        identities = len(set(data.train.spectra.subjects))
        self.loss = MatryoshkaLoss(recipe.loss, recipe.dims, identities, 1)
        self.schedule = OptimisationRecipe(epochs=recipe.epochs, learning_rate=recipe.learning_rate)
        self.optimiser = torch.optim.AdamW(
            [
                {"params": [*projection.parameters(), *self.loss.parameters()], "top": recipe.learning_rate},
                {"params": list(self.net.encoder.parameters()), "top": recipe.backbone_learning_rate},
            ],
            weight_decay=self.schedule.weight_decay,
        )

    def epochs(self) -> Iterator[Epoch]:
        """The start, then every epoch that is judged, as it ends."""
        yield self._judged(0, None)
        clips, frozen = TrainingClips(self.data.train.rows(frozen=self._frozen(1)), pooled=False), self._frozen(1)
        for epoch in range(1, self.recipe.epochs + 1):
            if frozen != self._frozen(epoch):
                frozen = self._frozen(epoch)
                clips = TrainingClips(self.data.train.rows(frozen=frozen), pooled=False)
            self.net.encoder.requires_grad_(not frozen)
            generator = np.random.default_rng([self.seed, epoch])
            steps = list(epoch_of_batches(clips, self.recipe.identities_per_batch, 2, generator))
            losses = [
                self._step(self._taken(batch, generator), epoch - 1 + (step + 1) / len(steps), frozen=frozen)
                for step, (batch,) in enumerate(steps)
            ]
            if epoch % self.recipe.validate_every == 0 or epoch == self.recipe.epochs:
                yield self._judged(epoch, float(np.mean(losses)))

    def _frozen(self, epoch: int) -> bool:
        return epoch <= self.arm.freeze_backbone_epochs

    def _taken(self, batch: ClipBatch, generator: np.random.Generator) -> ClipBatch:
        if self.arm.windows == "one":
            return one_row_of_each(batch, generator)
        return every_row(batch) if self.arm.windows == "every" else batch

    def _model(self, *, frozen: bool) -> torch.nn.Module:
        return self.net.projection if frozen else self.net

    def _step(self, batch: ClipBatch, at: float, *, frozen: bool) -> float:
        for group in self.optimiser.param_groups:
            group["lr"] = group["top"] * self.schedule.rate_at(at)
        self.net.train()
        value: torch.Tensor = self.loss(batch.pool(self._model(frozen=frozen)(batch.rows)), batch)
        self.optimiser.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), self.schedule.gradient_norm)
        self.optimiser.step()
        return float(value.detach())

    def _judged(self, epoch: int, train_loss: float | None) -> Epoch:
        frozen = self._frozen(epoch)
        model = self._model(frozen=frozen).eval()
        held_out = TrainingClips(self.data.held_out.rows(frozen=frozen), pooled=False)
        everything = held_out.draw(0, ALL, ALL, np.random.default_rng(0))
        batch = self._taken(everything, np.random.default_rng(0))
        with torch.inference_mode():
            held_out_loss = float(self.loss(batch.pool(model(batch.rows)), batch))
        judged = [part.rows(frozen=frozen) for part in self.data.validation]
        rates = _rates(lambda windows: embed_windows(model, windows), judged, self.recipe.dims)
        return Epoch(epoch, frozen, train_loss, held_out_loss, rates)


def _rates(embed: EmbedWindows, parts: Sequence[Features], dims: Sequence[int]) -> dict[str, dict[int, float]]:
    report = validate(embed, parts, dims)
    return {domain: {dim: accuracy.eer for dim, accuracy in per_dim.items()} for domain, per_dim in report.items()}
