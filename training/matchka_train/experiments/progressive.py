"""Progressive Matryoshka training: does learning the full dim first, then the shorter ones, beat all at once?

Every arm trains the recipe's own projection and loss on the same cached features, in the same batches; only the weights
of the dims in the loss differ from epoch to epoch.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Literal

import numpy as np
import torch
from pydantic import Field
from rich.progress import Progress

from matchka_train.errors import RecipeError
from matchka_train.evaluation.validation import Report, validate
from matchka_train.experiments.results import RunFolder
from matchka_train.fitting.batches import TrainingClips, epoch_of_batches
from matchka_train.fitting.losses import MatryoshkaLoss
from matchka_train.modalities import modality_of
from matchka_train.projections.closed_form.statistics import domain_weights
from matchka_train.projections.families import TrainedRecipe, begin
from matchka_train.run.candidate import Prepared, window_embedder
from matchka_train.run.candidates import CandidateRecipe
from matchka_train.run.data import read_data
from matchka_train.run.recipe import Recipe
from matchka_train.run.run import prepare
from matchka_train.strict_model import StrictModel

Arm = Literal["all at once", "full dim first", "full dim only"]
ARMS: Final[tuple[Arm, ...]] = ("all at once", "full dim first", "full dim only")


class ProgressiveRecipe(StrictModel):
    """One experiment; data, projection, loss and optimisation are those of the base recipe, without early stopping.

    A second stage with a larger margin is left out as well.

    Attributes:
        seeds: every arm is run with each.
        stage_epochs: "full dim first" adds the next shorter dim after so many epochs.
    """

    seeds: tuple[int, ...] = Field(default=(0, 1, 2), min_length=1)
    stage_epochs: int = Field(default=4, ge=1)


@dataclass(frozen=True)
class ProgressiveRun:
    """One arm with one seed.

    Attributes:
        arm: how the dims were weighted.
        seed: of start and batches.
        eer: domain -> dim -> EER on unseen people after the last epoch, a fraction.
    """

    arm: Arm
    seed: int
    eer: dict[str, dict[int, float]]


@dataclass(frozen=True)
class Progressive:
    """What the experiment found.

    Attributes:
        runs: every arm with every seed.
        raw: domain -> dim -> EER of the backbone, truncated.
    """

    runs: tuple[ProgressiveRun, ...]
    raw: dict[str, dict[int, float]]


def run_progressive(base: Recipe, recipe: ProgressiveRecipe, output_dir: Path, progress: Progress) -> Progressive:
    """Run every arm with every seed.

    Args:
        base: its data, projection, loss and optimisation are used.
        recipe: the experiment.
        output_dir: keeps every finished run, so that the same call goes on where it stopped.
        progress: shows how far it is.

    Raises:
        RecipeError: the base recipe has a family without epochs, or several.
        MatchkaError: a data set or the backbone is not there.
    """
    candidate, family = _trained(base)
    backbone = base.backbone.open()
    data = read_data(base.data, modality_of(backbone).copies, base.data.cache_dir, progress)
    prepared = prepare(base, backbone, data, progress)
    folder = RunFolder(output_dir, base, recipe.model_copy(update={"seeds": (0,)}))
    task = progress.add_task("runs", total=len(ARMS) * len(recipe.seeds))
    runs = []
    for seed in recipe.seeds:
        for arm in ARMS:
            weigh = partial(dim_weights, arm, base.dims, recipe.stage_epochs)
            compute = partial(_run, base, candidate, family, prepared, arm, seed, weigh)
            runs.append(folder.kept_or(f"{arm.replace(' ', '-')}-seed-{seed}", ProgressiveRun, compute))
            progress.advance(task)
    return Progressive(tuple(runs), _rates(prepared.raw))


def dim_weights(arm: Arm, dims: tuple[int, ...], stage_epochs: int, epoch: int) -> list[float]:
    """The weight of each dim in the loss of an epoch, which counts from 1; those that take part weigh the same.

    >>> dim_weights("full dim first", (16, 64, 256), 4, 4), dim_weights("full dim first", (16, 64, 256), 4, 5)
    ([0.0, 0.0, 1.0], [0.0, 0.5, 0.5])
    """
    taking_part = {"all at once": len(dims), "full dim only": 1, "full dim first": (epoch - 1) // stage_epochs + 1}[arm]
    active = min(taking_part, len(dims))
    return [0.0] * (len(dims) - active) + [1.0 / active] * active


def _trained(base: Recipe) -> tuple[CandidateRecipe, TrainedRecipe]:
    candidate, *others = base.candidates
    if others or not isinstance(candidate.projection, TrainedRecipe):
        raise RecipeError(
            "Only one family that is trained in epochs can be trained progressively.",
            value=base.projection.family,
            remedy="Override projection.family=linear, for example.",
        )
    return candidate, candidate.projection


def _run(
    base: Recipe,
    candidate: CandidateRecipe,
    family: TrainedRecipe,
    prepared: Prepared,
    arm: Arm,
    seed: int,
    weigh: Callable[[int], list[float]],
) -> ProgressiveRun:
    projection = begin(prepared.closed_form, family, base.dims[-1], seed)
    clips = TrainingClips(prepared.train, pooled=projection.is_affine)
    schedule = base.optimisation
    torch.manual_seed(seed)
    loss = MatryoshkaLoss(candidate.loss, base.dims, clips.identities, len(clips.domains))
    groups = [
        {"params": list(projection.parameters()), "top": schedule.learning_rate},
        {"params": list(loss.parameters()), "top": schedule.loss_learning_rate, "weight_decay": 0.0},
    ]
    optimiser = torch.optim.AdamW(groups, weight_decay=schedule.weight_decay)
    of_domain = domain_weights(schedule.domain_weights, clips.domains, "optimisation.domain_weights")
    for epoch in range(1, schedule.epochs + 1):
        loss.weights = weigh(epoch)
        generator = np.random.default_rng([seed, epoch])
        steps = list(epoch_of_batches(clips, schedule.identities_per_batch, schedule.clips_per_identity, generator))
        for step, batches in enumerate(steps):
            for group in optimiser.param_groups:
                group["lr"] = group["top"] * schedule.rate_at(epoch - 1 + (step + 1) / len(steps))
            projection.train()
            value = projection.penalty() + sum(
                of_domain[clips.domains[batch.domain]] * loss(batch.pool(projection(batch.rows)), batch)
                for batch in batches
            )
            optimiser.zero_grad()
            value.backward()
            torch.nn.utils.clip_grad_norm_(projection.parameters(), schedule.gradient_norm)
            optimiser.step()
    embed = window_embedder(projection.eval().exported())
    return ProgressiveRun(arm, seed, _rates(validate(embed, prepared.validation, base.dims)))


def _rates(report: Report) -> dict[str, dict[int, float]]:
    return {domain: {dim: accuracy.eer for dim, accuracy in per_dim.items()} for domain, per_dim in report.items()}
