"""Schedule: learning rate, weight averaging, early stopping, a second stage with a larger margin."""

import math
from typing import Final, Literal

from pydantic import Field, model_validator

from matchka_train.strict_model import StrictModel

# Recipes take up to 3,400 on the lists they were chosen on; so many steps of 512 clips at five dims are six minutes of
# a core, and draw four million clips.
MAX_STEPS: Final = 8_000


class LargeMarginRecipe(StrictModel):
    """Epochs behind the others, with a larger margin and a rate that begins low and falls to the floor.

    Attributes:
        epochs: how many.
        margin: of losses that add one to angles, in radians.
        learning_rate: at their beginning.

    Source: Thienpondt, Desplanques and Demuynck 2021, large margin fine-tuning, arXiv:2010.11255.
    """

    epochs: int = Field(default=5, ge=1)
    margin: float = Field(default=0.5, gt=0, lt=math.pi)
    learning_rate: float = Field(default=1e-4, gt=0)


class OptimisationRecipe(StrictModel):
    """AdamW with warm-up and a cosine; the defaults are those of the reference recipe, on smaller data.

    Attributes:
        epochs: passes over about as many clips as there are, or over fewer, of equal length, where all of them together
            would be more than `max_steps`.
        max_steps: of all epochs, those with a large margin included.
        learning_rate: at the top of the schedule.
        loss_learning_rate: of classifiers and calibration lines inside the loss.
        weight_decay: of the projection's parameters.
        warmup_epochs: in which the rate rises from 0.
        floor_learning_rate: at the end of the schedule.
        gradient_norm: longer gradients are shortened to it.
        identities_per_batch: of each domain.
        clips_per_identity: of each identity in a batch.
        domain_weights: domain -> weight of its batches' loss; equal where not given.
        average_from: share of the epochs after which the parameters of all steps are averaged; 1 never averages.
        keep: the epoch that validation says is best, or the last one; with `last` validation chooses nothing, so that
            the same people may calibrate.
        patience_epochs: stop after this many epochs without a better one; of `keep: last` none is too many.
        checkpoint_every_epochs: keep a copy this often, beside the best and the latest.
        large_margin: a second stage; null for none.
    """

    epochs: int = Field(default=30, ge=1)
    learning_rate: float = Field(default=1e-3, gt=0)
    loss_learning_rate: float = Field(default=1e-2, gt=0)
    weight_decay: float = Field(default=1e-3, ge=0)
    warmup_epochs: int = Field(default=2, ge=0)
    floor_learning_rate: float = Field(default=1e-6, ge=0)
    gradient_norm: float = Field(default=1.0, gt=0)
    identities_per_batch: int = Field(default=32, ge=2)
    clips_per_identity: int = Field(default=2, ge=2)
    domain_weights: dict[str, float] | None = None
    average_from: float = Field(default=1.0, ge=0, le=1)
    keep: Literal["best", "last"] = "best"
    patience_epochs: int = Field(default=10, ge=1)
    checkpoint_every_epochs: int = Field(default=5, ge=1)
    # left out of records at its default, which must therefore stay: see large_margin
    max_steps: int = Field(default=MAX_STEPS, ge=1, exclude_if=lambda steps: steps == MAX_STEPS)
    # left out of records where there is none: projections that were fitted before it keep theirs
    large_margin: LargeMarginRecipe | None = Field(default=None, exclude_if=lambda value: value is None)

    @model_validator(mode="after")
    def _warms_up_before_it_ends(self) -> "OptimisationRecipe":
        if self.warmup_epochs >= self.epochs:
            raise ValueError("warmup_epochs must be less than epochs")
        if self.max_steps < self.all_epochs:
            raise ValueError(f"max_steps must be {self.all_epochs} or more, one for each epoch")
        if self.large_margin is not None and self.keep == "best" and self.patience_epochs < self.all_epochs:
            raise ValueError(
                f"with large_margin, patience_epochs must be {self.all_epochs} or more, or its stage may stay out"
            )
        return self

    @property
    def all_epochs(self) -> int:
        """Epochs of both stages."""
        return self.epochs + (0 if self.large_margin is None else self.large_margin.epochs)

    def epoch_steps(self, whole: int) -> int:
        """Steps of an epoch: those of a whole pass, or fewer, so that all epochs together keep to `max_steps`.

        Rates, averaging, validation and patience count in epochs, and so follow.

        Args: whole: steps that draw about every clip once.

        >>> [OptimisationRecipe(epochs=30, max_steps=1000).epoch_steps(whole) for whole in (20, 33, 34, 5000)]
        [20, 33, 33, 33]
        """
        return min(whole, self.max_steps // self.all_epochs)

    def margin_in(self, epoch: int) -> float | None:
        """The margin that an epoch, counted from 1, has instead of the loss's own; None in the first stage."""
        return None if self.large_margin is None or epoch <= self.epochs else self.large_margin.margin

    def rate_at(self, epoch: float) -> float:
        """The share of the learning rate at a moment, in epochs from the start; fractions are steps.

        >>> [round(OptimisationRecipe(epochs=12, floor_learning_rate=0).rate_at(at), 2) for at in (1, 2, 7, 12)]
        [0.5, 1.0, 0.5, 0.0]
        """
        if self.large_margin is not None and epoch > self.epochs:
            top = self.large_margin.learning_rate
            share = rate_share(epoch - self.epochs, 0, self.large_margin.epochs, self.floor_learning_rate / top)
            return share * top / self.learning_rate
        return rate_share(epoch, self.warmup_epochs, self.epochs, self.floor_learning_rate / self.learning_rate)


def rate_share(epoch: float, warmup_epochs: float, epochs: float, floor: float) -> float:
    """The share of the learning rate at a moment: a straight line up, then half a cosine down.

    Args:
        epoch: the moment, in epochs from the start; fractions are steps.
        warmup_epochs: how long it rises from 0.
        epochs: when it ends.
        floor: the share that is left then.

    >>> [round(rate_share(at, 2, 12, 0.1), 2) for at in (1, 2, 7, 12)]
    [0.5, 1.0, 0.55, 0.1]
    """
    if epoch < warmup_epochs:
        return epoch / warmup_epochs
    progress = (epoch - warmup_epochs) / (epochs - warmup_epochs)
    return floor + (1.0 - floor) * 0.5 * (1.0 + math.cos(math.pi * min(progress, 1.0)))
