"""The training loop: batch -> projection -> loss -> step, and after every epoch validation says how good it is."""

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import astuple, dataclass
from typing import Any, Final, Protocol

import numpy as np
import torch

from matchka_train.errors import DivergedError
from matchka_train.evaluation.validation import Report, report_as_json
from matchka_train.fitting.batches import ClipBatch, ClipSource, count_steps, epoch_of_batches
from matchka_train.fitting.losses import LossRecipe, MatryoshkaLoss
from matchka_train.fitting.schedule import OptimisationRecipe
from matchka_train.fitting.selection import Standing, best_of, can_still_win, standing
from matchka_train.projections.closed_form.statistics import domain_weights
from matchka_train.projections.trainable import TrainableProjection

FLAT_SHARE: Final = 0.01  # a loss that falls by less than this share of its first epoch's value taught nothing


@dataclass(frozen=True)
class Plan:
    """How a projection is trained.

    Attributes: loss, optimisation, dims, seed: as in the recipe.
    """

    loss: LossRecipe
    optimisation: OptimisationRecipe
    dims: tuple[int, ...]
    seed: int


class CheckpointStore(Protocol):
    """Keeps checkpoints of the loop, from which an interrupted run is resumed."""

    def resume(self) -> dict[str, Any] | None:
        """The state an interrupted run left, or None."""

    def epoch_done(self, state: dict[str, Any], best: torch.nn.Module, current: torch.nn.Module) -> None:
        """Called once an epoch; `state` is all the next epoch depends on, its last history entry is this epoch's."""


@dataclass(frozen=True)
class Trained:
    """What training ended with.

    Attributes:
        best: the projection of the epoch that is kept, as it is saved and served.
        best_epoch: which that is; 0 is the start, before any step.
        history: for each epoch from 0: epoch, loss (none for 0), report and standing.
        flat: whether the loss hardly fell: nothing was learned.
    """

    best: torch.nn.Module
    best_epoch: int
    history: list[dict[str, Any]]
    flat: bool


def train(
    projection: TrainableProjection,
    data: ClipSource,
    validate: Callable[[torch.nn.Module], Report],
    raw: Report,
    plan: Plan,
    checkpoint_store: CheckpointStore,
    step_done: Callable[[float], None] = lambda _: None,
) -> Trained:
    """Train a projection, and keep its last epoch or its best: whose worst domain stands best beside the raw backbone.

    Every random choice of an epoch follows from the seed and the epoch's number, so that a run that was interrupted
    ends with the same projection as one that was not.

    Args:
        projection: at its start; trained in place.
        data: training clips.
        validate: measures an exported projection.
        raw: what it says of the raw backbone.
        plan: how.
        checkpoint_store: is told after every epoch, and holds what an interrupted run left.
        step_done: is told after every step, in epochs from the start.

    Raises: DivergedError: the loss became NaN or infinite; the checkpoint store has the last good epoch.
    """
    run = _Run(projection, data, plan)
    run.restore(checkpoint_store.resume())
    if not run.history:
        run.judge(validate(projection.exported()), raw, None)
        checkpoint_store.epoch_done(run.state(), run.best_module(), projection.exported())
    weights = domain_weights(plan.optimisation.domain_weights, data.domains, "optimisation.domain_weights")
    while run.epoch < plan.optimisation.all_epochs and run.epochs_without_better < plan.optimisation.patience_epochs:
        run.epoch += 1
        run.set_margin()
        total, steps = 0.0, run.count_steps()
        for step, batches in enumerate(run.batches()):
            at = run.epoch - 1 + (step + 1) / steps
            run.set_rate(at)
            projection.train()
            value = projection.penalty() + sum(
                weights[data.domains[batch.domain]] * run.loss(batch.pool(projection(batch.rows)), batch)
                for batch in batches
            )
            run.require_finite(value)
            run.optimiser.zero_grad()
            value.backward()
            torch.nn.utils.clip_grad_norm_(run.trained, plan.optimisation.gradient_norm)
            run.optimiser.step()
            run.average()
            total += float(value.detach())
            step_done(at)
        current = run.averaged().eval().exported()
        run.judge(validate(current), raw, total / steps)
        checkpoint_store.epoch_done(run.state(), run.best_module(), current)
    return Trained(run.best_module(), run.best_epoch, run.history, _is_flat(run.history))


class _Run:
    """Everything an epoch depends on, so that all of it can be kept and restored."""

    def __init__(self, projection: TrainableProjection, data: ClipSource, plan: Plan) -> None:
        self.projection, self.data, self.plan = projection, data, plan
        torch.manual_seed(plan.seed)  # classifiers inside the loss start at random
        self.loss = MatryoshkaLoss(plan.loss, plan.dims, data.identities, len(data.domains))
        self.trained = list(projection.parameters())
        optimisation = plan.optimisation
        groups: list[dict[str, Any]] = [{"params": self.trained, "top": optimisation.learning_rate}]
        if inside := list(self.loss.parameters()):
            groups.append({"params": inside, "top": optimisation.loss_learning_rate, "weight_decay": 0.0})
        self.optimiser = torch.optim.AdamW(
            groups, lr=optimisation.learning_rate, weight_decay=optimisation.weight_decay
        )
        self.epoch = 0
        self.averaged_steps = 0
        self.average_of: dict[str, torch.Tensor] = {}
        self.standings: list[Standing] = []  # of the epochs from 0
        self.weights: dict[int, dict[str, torch.Tensor]] = {}  # of the epochs that are or may become the best
        self.history: list[dict[str, Any]] = []

    @property
    def best_epoch(self) -> int:
        return self.epoch if self._keeps_last else best_of(self.standings)

    @property
    def _keeps_last(self) -> bool:
        return self.plan.optimisation.keep == "last"

    @property
    def epochs_without_better(self) -> int:
        return self.epoch - self.best_epoch

    def batches(self) -> Iterator[list[ClipBatch]]:
        """The steps of this epoch; torch's own draws (dropout) are fixed by the epoch too."""
        self.data.refresh()
        generator = np.random.default_rng([self.plan.seed, self.epoch])
        torch.manual_seed(int(generator.integers(0, 2**62)))
        optimisation = self.plan.optimisation
        return epoch_of_batches(
            self.data,
            optimisation.identities_per_batch,
            optimisation.clips_per_identity,
            generator,
            self.count_steps(),
        )

    def count_steps(self) -> int:
        optimisation = self.plan.optimisation
        whole = count_steps(self.data, optimisation.identities_per_batch, optimisation.clips_per_identity)
        return optimisation.epoch_steps(whole)

    def set_margin(self) -> None:
        margin = self.plan.optimisation.margin_in(self.epoch)
        if margin is not None:
            self.loss.set_margin(margin)

    def set_rate(self, at: float) -> None:
        for group in self.optimiser.param_groups:
            group["lr"] = group["top"] * self.plan.optimisation.rate_at(at)

    def require_finite(self, value: torch.Tensor) -> None:
        if not bool(torch.isfinite(value)):
            raise DivergedError(
                f"The loss became {float(value.detach())} in epoch {self.epoch}; the best epoch so far is kept.",
                value=f"learning_rate {self.plan.optimisation.learning_rate}",
                remedy="Lower optimisation.learning_rate, or look for damaged features.",
            )

    def average(self) -> None:
        """Add this step to the running mean of all parameters, once averaging has begun."""
        if self.epoch <= self.plan.optimisation.average_from * self.plan.optimisation.all_epochs:
            return
        self.averaged_steps += 1
        for name, tensor in self.projection.state_dict().items():
            known = self.average_of.get(name)
            if known is None or not tensor.is_floating_point():
                self.average_of[name] = tensor.clone()
            else:
                known += (tensor - known) / self.averaged_steps

    def averaged(self) -> TrainableProjection:
        copy = deepcopy(self.projection)
        copy.load_state_dict(self.average_of or self.projection.state_dict())
        return copy

    def judge(self, report: Report, raw: Report, loss: float | None) -> None:
        """Note the epoch, and keep its weights while it may be the one that is kept."""
        reached = standing(report, raw)
        self.history.append(
            {
                "epoch": self.epoch,
                "loss": loss,
                "report": report_as_json(report),
                "excess": reached.excess,
                "ratio": reached.ratio,
            }
        )
        self.standings.append(reached)
        self.weights[self.epoch] = {name: tensor.clone() for name, tensor in self.averaged().state_dict().items()}
        for epoch in list(self.weights):
            if not self._may_be_kept(epoch):
                del self.weights[epoch]

    def _may_be_kept(self, epoch: int) -> bool:
        if self._keeps_last:
            return epoch == self.epoch
        return can_still_win(self.standings[epoch], self.standings)

    def best_module(self) -> torch.nn.Module:
        copy = deepcopy(self.projection)
        copy.load_state_dict(self.weights[self.best_epoch])
        return copy.eval().exported()

    def state(self) -> dict[str, Any]:
        return {
            "epoch": self.epoch,
            "projection": self.projection.state_dict(),
            "loss": self.loss.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "averaged_steps": self.averaged_steps,
            "average_of": self.average_of,
            "standings": [list(astuple(reached)) for reached in self.standings],
            "weights": self.weights,
            "history": self.history,
        }

    def restore(self, state: dict[str, Any] | None) -> None:
        if state is None:
            return
        self.epoch, self.history = state["epoch"], state["history"]
        self.projection.load_state_dict(state["projection"])
        self.loss.load_state_dict(state["loss"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.averaged_steps, self.average_of = state["averaged_steps"], state["average_of"]
        self.standings = [Standing(*values) for values in state["standings"]]
        self.weights = state["weights"]


def _is_flat(history: list[dict[str, Any]]) -> bool:
    seen = [entry["loss"] for entry in history if entry["loss"] is not None]
    return bool(seen) and seen[0] - min(seen) < FLAT_SHARE * abs(seen[0])
