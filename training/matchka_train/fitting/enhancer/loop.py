"""Trains an enhancer through a frozen backbone, step by step, on samples that are made smaller anew each time."""

import copy
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from matchka.vectors import FloatArray
from matchka_train.errors import DivergedError
from matchka_train.fitting.enhancer.losses import Bank, EnhancerLoss
from matchka_train.fitting.enhancer.recipe import EnhancerLossRecipe, EnhancerOptimisation

KEPT_EVERY = 250  # steps between two states of an interrupted run


class Enhancing(Protocol):
    """A network that enhances chips."""

    def enhance(self, chips: Tensor, sizes_px: Tensor) -> Tensor:
        """Float chips, (batch, rows, cols, 3), 0..255, and their sizes, (batch,) -> chips of the same shape."""
        ...


@dataclass(frozen=True)
class SmallBatch:
    """Small samples beside what they were.

    Attributes:
        rows: int64, (batch,), which samples of the bank.
        mirrored: bool, (batch,), which of them are shown as mirror images.
        chips: uint8, (batch, rows, cols, 3), small and enlarged again.
        full: uint8, the same at full size.
        sizes_px: float32, (batch,).
    """

    rows: npt.NDArray[np.int64]
    mirrored: npt.NDArray[np.bool_]
    chips: npt.NDArray[np.uint8]
    full: npt.NDArray[np.uint8]
    sizes_px: FloatArray


@dataclass(frozen=True)
class Look:
    """What held-out people say of the averaged weights. Attributes: step: after it. rate: lower is better."""

    step: int
    rate: float


@dataclass
class EnhancerState:
    """Everything that the next step depends on."""

    step: int
    network: nn.Module
    averaged: nn.Module
    loss: EnhancerLoss
    optimiser: torch.optim.Optimizer
    best: dict[str, Tensor]
    looks: list[Look] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)

    def content(self) -> dict[str, Any]:
        """As it is kept."""
        return {
            "step": self.step,
            "network": self.network.state_dict(),
            "averaged": self.averaged.state_dict(),
            "loss": self.loss.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "best": self.best,
            "looks": [(look.step, look.rate) for look in self.looks],
            "losses": self.losses,
        }

    def restore(self, content: dict[str, Any]) -> None:
        """What content() gave."""
        self.step, self.best, self.losses = content["step"], content["best"], content["losses"]
        self.looks = [Look(step, rate) for step, rate in content["looks"]]
        self.network.load_state_dict(content["network"])
        self.averaged.load_state_dict(content["averaged"])
        self.loss.load_state_dict(content["loss"])
        self.optimiser.load_state_dict(content["optimiser"])


class EnhancerStore(Protocol):
    """Where an interrupted run goes on."""

    def resume(self) -> dict[str, Any] | None:
        """The content of a state, or None."""
        ...

    def keep(self, content: dict[str, Any]) -> None:
        """Keep it."""
        ...


@dataclass(frozen=True)
class EnhancerTraining:
    """What a training works with.

    Attributes:
        backbone: chips -> embeddings of unit length, frozen.
        bank: what it makes of every sample at full size.
        draw: a batch of so many small samples, by a generator that a step has of its own.
        judge: an error rate of held-out people, or None where nobody is held out: the last weights are kept then.
    """

    backbone: nn.Module
    bank: Bank
    draw: Callable[[int, np.random.Generator], SmallBatch]
    judge: Callable[[nn.Module], float] | None


def train_enhancer(
    network: nn.Module,
    training: EnhancerTraining,
    weights: EnhancerLossRecipe,
    recipe: EnhancerOptimisation,
    seed: int,
    store: EnhancerStore,
) -> EnhancerState:
    """Train, and leave in `best` the averaged weights that held-out people chose.

    Args:
        network: one with enhance(); it is trained in place.
        training: data and backbone.
        weights: of the losses.
        recipe: steps and rates.
        seed: of every batch.
        store: keeps the state.

    Raises: DivergedError: the loss is no longer finite.
    """
    loss = EnhancerLoss(weights, training.bank)
    parameters = [*network.parameters(), *loss.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    averaged = copy.deepcopy(network)
    state = EnhancerState(0, network, averaged, loss, optimiser, copy.deepcopy(network.state_dict()))
    if (kept := store.resume()) is not None:
        state.restore(kept)
    while state.step < recipe.steps:
        _step(state, training, recipe, seed)
        judged = state.step % recipe.judged_every == 0 or state.step == recipe.steps
        if judged:
            _look(state, training)
        if judged or state.step % KEPT_EVERY == 0:
            store.keep(state.content())
    return state


def _step(state: EnhancerState, training: EnhancerTraining, recipe: EnhancerOptimisation, seed: int) -> None:
    for group in state.optimiser.param_groups:
        group["lr"] = recipe.learning_rate * rate_at(state.step, recipe.steps, recipe.warmup_steps)
    batch = training.draw(recipe.batch, np.random.default_rng([seed, state.step]))
    rows, mirrored, chips, full, sizes = (
        torch.from_numpy(part) for part in (batch.rows, batch.mirrored, batch.chips, batch.full, batch.sizes_px)
    )
    enhancing: Any = state.network
    with _precision(recipe.bfloat16):
        enhanced = enhancing.enhance(chips.float(), sizes)
        embeddings = training.backbone(enhanced.contiguous())  # channels last, which is faster in 16 bits
    unit = functional.normalize(embeddings.float(), dim=1)
    loss = state.loss(enhanced.float(), full.float(), unit, rows, mirrored)
    value = loss.item()
    if not math.isfinite(value):
        raise DivergedError("The loss is not finite.", value=value, remedy="Lower optimisation.learning_rate.")
    state.optimiser.zero_grad()
    torch.autograd.backward(loss)
    torch.nn.utils.clip_grad_norm_(state.network.parameters(), recipe.gradient_norm)
    state.optimiser.step()
    state.step += 1
    state.losses.append(value)
    kept = min(recipe.averaging, (1 + state.step) / (10 + state.step))
    with torch.no_grad():
        for mean, parameter in zip(state.averaged.parameters(), state.network.parameters(), strict=True):
            mean.lerp_(parameter, 1 - kept)


def _look(state: EnhancerState, training: EnhancerTraining) -> None:
    rate = 0.0 if training.judge is None else training.judge(state.averaged)
    if not state.looks or rate <= min(look.rate for look in state.looks):
        state.best = copy.deepcopy(state.averaged.state_dict())
    state.looks.append(Look(state.step, rate))


def rate_at(step: int, steps: int, warmup: int) -> float:
    """Of the learning rate: a line up, then half a cosine down over all steps.

    >>> [round(rate_at(step, 100, 10), 2) for step in (0, 9, 50, 99)]
    [0.1, 0.98, 0.5, 0.0]
    """
    return min(1.0, (step + 1) / max(1, warmup)) * 0.5 * (1 + math.cos(math.pi * step / steps))


@contextmanager
def _precision(bfloat16: bool) -> Iterator[None]:
    with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        yield
