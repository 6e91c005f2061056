"""What the training of a radio network depends on."""

from pathlib import Path
from typing import Final

from pydantic import Field, model_validator

from matchka_train.backbones.iq.config import NetworkConfig
from matchka_train.datasets.generator.modulations import MODULATIONS
from matchka_train.strict_model import StrictModel

LOWEST_SNR_DB: Final = -20.0


class MixupRecipe(StrictModel):
    """Windows mixed in pairs.

    Attributes:
        alpha: of the Beta distribution that shares are drawn from.
        probability: that a batch is mixed.
        classifier_only: classify mixed windows, and take every other loss on windows as they are.
        lowest_snr_db: windows below are left as they are.

    Source: Zhang et al. 2018, arXiv:1710.09412.
    """

    alpha: float = Field(default=0.2, gt=0)
    probability: float = Field(default=0.5, ge=0, le=1)
    classifier_only: bool = True
    lowest_snr_db: float = LOWEST_SNR_DB


class LossWeights(StrictModel):
    """What each loss counts beside the cross-entropy of the modulation, which counts 1.

    Attributes:
        waveform: cross-entropy of the waveform: its symbol rate and shape as well.
        snr: error of the SNR in tens of decibels, squared below 1 and straight above.
        noise_fraction: squared error of the noise's share of the power.
        denoised: squared error of the denoised window, in the clean window's power.
        preserved: squared difference of the second path's features of the denoised and of the clean window, in the
            power of the latter.
    """

    waveform: float = Field(default=0.3, ge=0)
    snr: float = Field(default=0.2, ge=0)
    noise_fraction: float = Field(default=0.5, ge=0)
    denoised: float = Field(default=0.1, ge=0)
    preserved: float = Field(default=0.0, ge=0)


class NetworkRecipe(StrictModel):
    """One training.

    Attributes:
        seed: of the start, and of every window.
        network: its parts.
        modulations: that it tells apart, in the order of its outputs.
        epochs: passes over so many windows, all of them new.
        windows_per_epoch: as many of every modulation at every SNR.
        validation_windows: that the thresholds and the figures of the file come from.
        batch: windows of one step.
        learning_rate: at the top of a cosine with a warm-up.
        warmup_share: of the steps.
        weight_decay: of AdamW.
        gradient_norm: longer gradients are shortened to it.
        averaging: share of the averaged weights that every step keeps; the average is what is used.
        loss: weights of the losses.
        mixup: None mixes nothing.
        snr_balanced: every batch has every SNR equally often, not only the epoch.
        bfloat16: compute in 16 bits; about twice as fast on processors that have them, and slower on others.
        output: file of the weights.
    """

    seed: int = Field(default=0, ge=0)
    network: NetworkConfig = NetworkConfig()
    modulations: tuple[str, ...] = tuple(MODULATIONS)
    epochs: int = Field(default=45, ge=1)
    windows_per_epoch: int = Field(default=26_400, ge=1)
    validation_windows: int = Field(default=22_000, ge=1)
    batch: int = Field(default=256, ge=2)
    learning_rate: float = Field(default=3e-3, gt=0)
    warmup_share: float = Field(default=0.05, ge=0, lt=1)
    weight_decay: float = Field(default=1e-3, ge=0)
    gradient_norm: float = Field(default=5.0, gt=0)
    averaging: float = Field(default=0.995, ge=0, lt=1)
    loss: LossWeights = LossWeights()
    mixup: MixupRecipe | None = None
    snr_balanced: bool = False
    bfloat16: bool = False
    output: Path = Path("build/training/radio-network/network.safetensors")

    @model_validator(mode="after")
    def _knows_its_modulations(self) -> "NetworkRecipe":
        if unknown := set(self.modulations) - set(MODULATIONS):
            raise ValueError(f"no modulations: {', '.join(sorted(unknown))}; there are {', '.join(MODULATIONS)}")
        if len(set(self.modulations)) < max(2, len(self.modulations)):
            raise ValueError("modulations must be two or more, without repeats")
        if self.batch > self.windows_per_epoch:
            raise ValueError("windows_per_epoch must be at least batch")
        return self
