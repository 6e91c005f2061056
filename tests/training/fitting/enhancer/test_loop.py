"""Training an enhancer: it learns, goes on where it stopped, keeps what held-out people chose, and stops where lost."""

from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn
from torch.nn import functional

from matchka_train.errors import DivergedError
from matchka_train.fitting.enhancer.loop import EnhancerTraining, SmallBatch, train_enhancer
from matchka_train.fitting.enhancer.losses import Bank
from matchka_train.fitting.enhancer.recipe import EnhancerLossRecipe, EnhancerOptimisation, ProbeRecipe

LOSS = EnhancerLossRecipe(paired=0.0, contrastive=0.0, pixels=1.0)


class Shift(nn.Module):
    """Adds one learned grey level."""

    def __init__(self) -> None:
        super().__init__()
        self.level = nn.Parameter(torch.zeros(1))

    def enhance(self, chips: torch.Tensor, _sizes: torch.Tensor) -> torch.Tensor:
        return chips + self.level


class Flat(nn.Module):
    def forward(self, chips: torch.Tensor) -> torch.Tensor:
        return functional.normalize(chips.flatten(1)[:, :4] + 1.0, dim=1)


class Memory:
    """A store that forgets nothing."""

    def __init__(self) -> None:
        self.kept: dict[str, Any] | None = None

    def resume(self) -> dict[str, Any] | None:
        return self.kept

    def keep(self, content: dict[str, Any]) -> None:
        self.kept = {**content, "losses": list(content["losses"])}


def draw(batch: int, generator: np.random.Generator) -> SmallBatch:
    rows = generator.choice(4, batch, replace=False).astype(np.int64)
    chips = generator.integers(0, 200, (batch, 2, 2, 3), dtype=np.uint8)
    mirrored = generator.random(batch) < 0.5
    return SmallBatch(rows, mirrored, chips, chips + 5, np.full(batch, 16, np.float32))


def training(**changes: Any) -> EnhancerTraining:
    bank = Bank(torch.stack([torch.eye(4)] * 2), torch.tensor([0, 0, 1, 1]))
    return EnhancerTraining(**({"backbone": Flat(), "bank": bank, "draw": draw, "judge": None} | changes))


def optimisation(**changes: Any) -> EnhancerOptimisation:
    stated = {"steps": 40, "batch": 2, "learning_rate": 0.5, "warmup_steps": 2, "averaging": 0.5, "judged_every": 10}
    return EnhancerOptimisation(**(stated | changes))


def test_train_enhancer_approaches_what_the_loss_asks_for() -> None:
    state = train_enhancer(Shift(), training(), LOSS, optimisation(), 0, Memory())
    assert abs(float(state.best["level"]) - 5.0) < 0.5
    assert [look.step for look in state.looks] == [10, 20, 30, 40]


def test_train_enhancer_when_interrupted_ends_as_if_it_had_not_been() -> None:
    whole = train_enhancer(Shift(), training(), LOSS, optimisation(), 0, Memory())
    store = Memory()

    def fails(batch: int, generator: np.random.Generator) -> SmallBatch:
        if store.kept is not None and store.kept["step"] == 20:
            raise InterruptedError
        return draw(batch, generator)

    with pytest.raises(InterruptedError):
        train_enhancer(Shift(), training(draw=fails), LOSS, optimisation(), 0, store)
    again = train_enhancer(Shift(), training(), LOSS, optimisation(), 0, store)
    assert again.losses == whole.losses
    assert torch.equal(again.best["level"], whole.best["level"])


def test_train_enhancer_keeps_the_look_with_the_lowest_rate() -> None:
    rates, seen = iter([3.0, 1.0, 2.0, 4.0]), []

    def judge(network: nn.Module) -> float:
        seen.append(float(network.level.detach()))
        return next(rates)

    state = train_enhancer(Shift(), training(judge=judge), LOSS, optimisation(), 0, Memory())
    assert float(state.best["level"]) == seen[1]
    assert len({*seen}) == 4


def test_train_enhancer_of_a_loss_that_is_not_finite_stops() -> None:
    class Broken(Shift):
        def enhance(self, chips: torch.Tensor, _sizes: torch.Tensor) -> torch.Tensor:
            return chips + self.level / 0.0 * 0.0

    with pytest.raises(DivergedError, match="not finite"):
        train_enhancer(Broken(), training(), LOSS, optimisation(), 0, Memory())


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        (EnhancerLossRecipe, {"paired": 0, "contrastive": 0, "pixels": 0}),
        (ProbeRecipe, {"sizes_px": (40, 12)}),
        (ProbeRecipe, {"jpeg_quality": (0, 50)}),
    ],
)
def test_recipes_of_an_enhancer_that_make_no_sense_are_refused(kind: type, content: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=r"must count|upper end"):
        kind(**content)
