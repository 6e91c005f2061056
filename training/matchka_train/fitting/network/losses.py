"""The losses of a radio network."""

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from matchka_train.backbones.iq.network import SNR_SCALE_DB, Predictions, RadioNetwork
from matchka_train.fitting.network.recipe import LossWeights
from matchka_train.fitting.network.windows import Mixed, Windows

LEAST_CLEAN_POWER: Final = 0.01  # of a window of unit power, at -20 dB


def classification_loss(
    found: Predictions, waveform_logits: Tensor, windows: Windows, waveform_weight: float
) -> Tensor:
    """Cross-entropy of the modulation and, weighted, of the waveform: the mean over the windows."""
    modulation = functional.cross_entropy(found.logits, windows.classes)
    return modulation + waveform_weight * functional.cross_entropy(waveform_logits, windows.waveforms)


def mixed_classification_loss(
    found: Predictions, waveform_logits: Tensor, mixed: Mixed, waveform_weight: float
) -> Tensor:
    """The loss with the first window's labels times its share, and with the second's times the rest."""
    first = classification_loss(found, waveform_logits, mixed.windows, waveform_weight)
    second = classification_loss(found, waveform_logits, mixed.second, waveform_weight)
    return mixed.share * first + (1 - mixed.share) * second


def auxiliary_loss(network: nn.Module, found: Predictions, windows: Windows, weights: LossWeights) -> Tensor:
    """What the network says of noise and signal, beside what they are."""
    snr = functional.smooth_l1_loss(found.snr_db[:, 0] / SNR_SCALE_DB, windows.snr_db / SNR_SCALE_DB)
    noise = functional.mse_loss(found.noise_fraction[:, 0], windows.noise_fraction)
    total = weights.snr * snr + weights.noise_fraction * noise
    if found.denoised is not None:
        total = total + weights.denoised * denoising_error(found.denoised, windows.clean).mean()
        if weights.preserved > 0 and isinstance(network, RadioNetwork) and network.second is not None:
            with torch.no_grad():
                wanted = network.second(windows.clean)
            difference = functional.mse_loss(network.second(found.denoised), wanted)
            total = total + weights.preserved * difference / wanted.pow(2).mean().clamp(min=LEAST_CLEAN_POWER)
    return total


def denoising_error(denoised: Tensor, clean: Tensor) -> Tensor:
    """Squared error of each window in its clean power: 1 is what silence would reach.

    In absolute units windows of little signal would count for nothing, and those are what a denoiser is for.

    Args:
        denoised: (n, 2, samples), in the unit of the received window.
        clean: the same, of the signal alone.

    Returns: (n,).
    """
    power = clean.pow(2).sum(dim=1).mean(dim=1).clamp(min=LEAST_CLEAN_POWER)
    return (denoised - clean).pow(2).sum(dim=1).mean(dim=1) / power
