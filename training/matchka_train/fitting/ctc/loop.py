"""The training loop: batch -> head -> CTC loss -> step, and now and then the held-out speakers say how good it is."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
import torch
from torch import Tensor

from matchka.vectors import FloatArray
from matchka_train.errors import DivergedError
from matchka_train.fitting.ctc.clips import SpokenBatch, SpokenClips, batches_by_length, read_batch
from matchka_train.fitting.ctc.recipe import CtcRecipe
from matchka_train.heads.phones.head import PhoneHead
from matchka_train.heads.phones.masking import Masking
from matchka_train.metrics.phone_errors import PhoneErrors, phone_errors

JUDGED_CLIPS: Final = 32  # of a batch when nothing is trained


class HeadStore(Protocol):
    """Keeps checkpoints of the loop, from which an interrupted run is resumed."""

    def resume(self) -> dict[str, Any] | None:
        """The state an interrupted run left, or None."""

    def epoch_done(self, state: dict[str, Any], best: PhoneHead) -> None:
        """Called once an epoch; `state` is all the next epoch depends on, its last history entry is this epoch's."""


@dataclass(frozen=True)
class TrainedHead:
    """What training ended with.

    Attributes:
        best: the head of the epoch that is kept.
        best_epoch: which that is.
        history: for each epoch from 1: epoch, loss; where it was measured, per and blank_share of held-out speakers.
    """

    best: PhoneHead
    best_epoch: int
    history: list[dict[str, Any]]


def train_head(
    head: PhoneHead, clips: SpokenClips, held_out: SpokenClips, recipe: CtcRecipe, seed: int, store: HeadStore
) -> TrainedHead:
    """Train a head, and keep the epoch with the lowest phone error rate on the held-out speakers.

    Every random choice of an epoch follows from the seed and the epoch's number, so that a run that was interrupted
    ends with the same head as one that was not.

    Args:
        head: at its start; trained in place.
        clips: to train on.
        held_out: clips of other speakers.
        recipe: how.
        seed: of the order of clips, masks and dropout.
        store: is told after every epoch, and holds what an interrupted run left.

    Raises: DivergedError: the loss became NaN or infinite; the store has the last good epoch.
    """
    run = _Run(head, recipe)
    run.restore(store.resume())
    while run.epoch < recipe.epochs:
        run.epoch += 1
        generator = np.random.default_rng([seed, run.epoch])
        torch.manual_seed(int(generator.integers(0, 2**62)))
        batches = list(batches_by_length(clips.counts, recipe.batch_clips, generator))
        masking = recipe.masking_in(run.epoch)
        total = 0.0
        head.train()
        for step, numbers in enumerate(batches):
            run.set_rate(run.epoch - 1 + (step + 1) / len(batches))
            loss = ctc_loss(head, read_batch(clips, numbers), masking, half_precision=recipe.half_precision)
            run.require_finite(loss)
            run.optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(head.parameters(), recipe.gradient_norm)
            run.optimiser.step()
            run.average()
            total += float(loss.detach()) * len(numbers)
        run.note(total / len(clips), lambda: judge_head(run.averaged(), held_out))
        store.epoch_done(run.state(), run.best())
    return TrainedHead(run.best(), run.best_epoch, run.history)


def ctc_loss(head: PhoneHead, batch: SpokenBatch, masking: Masking | None = None, *, half_precision: bool) -> Tensor:
    """The mean over clips of -log p(phones | clip) / phones.

    Args:
        head: in training or evaluation mode.
        batch: clips.
        masking: what is hidden of them; None hides nothing.
        half_precision: whether the head computes in bfloat16.

    Source: Graves et al. 2006, Connectionist temporal classification.
    """
    with torch.autocast("cpu", torch.bfloat16, enabled=half_precision):
        log_posteriors = head(batch.encoded, batch.lengths, masking)
    loss: Tensor = torch.nn.functional.ctc_loss(
        log_posteriors.float().transpose(0, 1), batch.phones, batch.lengths, batch.phone_counts, zero_infinity=True
    )
    return loss


def read_clips(head: PhoneHead, clips: SpokenClips) -> list[FloatArray]:
    """Log-posteriors of each clip: float32, (frames, classes)."""
    head.eval()
    found: dict[int, FloatArray] = {}
    with torch.inference_mode():
        for numbers in batches_by_length(clips.counts, JUDGED_CLIPS):
            batch = read_batch(clips, numbers)
            rows = head(batch.encoded, batch.lengths).numpy()
            found |= {number: row[: clips.counts[number]] for number, row in zip(numbers, rows, strict=True)}
    return [found[number] for number in range(len(clips))]


def judge_head(head: PhoneHead, clips: SpokenClips) -> PhoneErrors:
    """Decode every clip greedily and count errors."""
    return phone_errors(
        read_clips(head, clips), [transcript.phones for transcript in clips.transcripts], clips.subjects
    )


class _Run:
    """Everything an epoch depends on, so that all of it can be kept and restored."""

    def __init__(self, head: PhoneHead, recipe: CtcRecipe) -> None:
        self.head, self.recipe = head, recipe
        self.optimiser = torch.optim.AdamW(head.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
        self.epoch = 0
        self.averaged_steps = 0
        self.average_of: dict[str, Tensor] = {}
        self.best_epoch = 0
        self.best_weights: dict[str, Tensor] = _copy(head)
        self.history: list[dict[str, Any]] = []

    def set_rate(self, at: float) -> None:
        for group in self.optimiser.param_groups:
            group["lr"] = self.recipe.learning_rate * self.recipe.rate_at(at)

    def require_finite(self, loss: Tensor) -> None:
        if not bool(torch.isfinite(loss)):
            raise DivergedError(
                f"The loss became {float(loss.detach())} in epoch {self.epoch}; the best epoch so far is kept.",
                value=f"learning_rate {self.recipe.learning_rate}",
                remedy="Lower optimisation.learning_rate, or look for damaged clips.",
            )

    def average(self) -> None:
        """Add this step to the running mean of all parameters, once averaging has begun."""
        if self.epoch <= self.recipe.average_from * self.recipe.epochs:
            return
        self.averaged_steps += 1
        for name, tensor in self.head.state_dict().items():
            known = self.average_of.setdefault(name, tensor.clone())
            known += (tensor - known) / self.averaged_steps

    def averaged(self) -> PhoneHead:
        return self._with(self.average_of or self.head.state_dict())

    def best(self) -> PhoneHead:
        return self._with(self.best_weights)

    def note(self, loss: float, judge: Callable[[], PhoneErrors]) -> None:
        """Note the epoch, and keep its weights where it is the best one measured."""
        entry: dict[str, Any] = {"epoch": self.epoch, "loss": loss}
        if self.epoch % self.recipe.validate_every_epochs == 0 or self.epoch == self.recipe.epochs:
            found = judge()
            rates = [known["per"] for known in self.history if "per" in known]
            if not rates or found.rate < min(rates):
                self.best_epoch, self.best_weights = self.epoch, _copy(self.averaged())
            entry |= {"per": found.rate, "blank_share": found.blank_share}
        self.history.append(entry)

    def state(self) -> dict[str, Any]:
        return {
            "epoch": self.epoch,
            "head": self.head.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "averaged_steps": self.averaged_steps,
            "average_of": self.average_of,
            "best_epoch": self.best_epoch,
            "best_weights": self.best_weights,
            "history": self.history,
        }

    def restore(self, state: dict[str, Any] | None) -> None:
        if state is None:
            return
        self.epoch, self.history = state["epoch"], state["history"]
        self.head.load_state_dict(state["head"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.averaged_steps, self.average_of = state["averaged_steps"], state["average_of"]
        self.best_epoch, self.best_weights = state["best_epoch"], state["best_weights"]

    def _with(self, weights: dict[str, Tensor]) -> PhoneHead:
        copy = deepcopy(self.head)
        copy.load_state_dict(weights)
        return copy.eval()


def _copy(head: PhoneHead) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in head.state_dict().items()}
