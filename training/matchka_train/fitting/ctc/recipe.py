"""How a head is trained."""

from pydantic import Field, model_validator

from matchka_train.fitting.schedule import rate_share
from matchka_train.heads.phones.masking import Masking
from matchka_train.strict_model import StrictModel


class CtcRecipe(StrictModel):
    """AdamW with warm-up and a cosine. There is no early stopping: a head says nothing but blank for hundreds of steps.

    Attributes:
        epochs: passes over the clips.
        batch_clips: clips of a step.
        learning_rate: at the top of the schedule.
        weight_decay: of all parameters.
        warmup_epochs: in which the rate rises from 0.
        floor_learning_rate: at the end of the schedule.
        gradient_norm: longer gradients are shortened to it.
        average_from: share of the epochs after which the parameters of all steps are averaged; 1 never averages.
        masking: what is hidden in training, and in which share of the epochs; None hides nothing.
        half_precision: whether training computes in bfloat16, twice as fast on processors that know it.
        validate_every_epochs: measure the held-out speakers this often, and after the last epoch.
    """

    epochs: int = Field(default=24, ge=1)
    batch_clips: int = Field(default=32, ge=1)
    learning_rate: float = Field(default=2e-3, gt=0)
    weight_decay: float = Field(default=1e-3, ge=0)
    warmup_epochs: float = Field(default=3.0, ge=0)
    floor_learning_rate: float = Field(default=1e-5, ge=0)
    gradient_norm: float = Field(default=5.0, gt=0)
    average_from: float = Field(default=0.7, ge=0, le=1)
    masking: Masking | None = None
    half_precision: bool = True
    validate_every_epochs: int = Field(default=1, ge=1)

    @model_validator(mode="after")
    def _warms_up_before_it_ends(self) -> "CtcRecipe":
        if self.warmup_epochs >= self.epochs:
            raise ValueError("warmup_epochs must be less than epochs")
        return self

    def masking_in(self, epoch: int) -> Masking | None:
        """What is hidden in an epoch, counted from 1.

        >>> halves = CtcRecipe(epochs=5, masking=Masking(until=0.4))
        >>> [halves.masking_in(epoch) is not None for epoch in range(1, 6)]
        [True, True, False, False, False]
        """
        if self.masking is None or epoch > self.masking.until * self.epochs:
            return None
        return self.masking

    def rate_at(self, epoch: float) -> float:
        """The share of the learning rate at a moment, in epochs from the start; fractions are steps."""
        return rate_share(epoch, self.warmup_epochs, self.epochs, self.floor_learning_rate / self.learning_rate)
