"""Trains a radio network on windows that it sees once."""

import copy
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

from matchka_train.backbones.iq.network import Predictions, RadioNetwork
from matchka_train.datasets.generator.recordings import Draw
from matchka_train.errors import DivergedError
from matchka_train.fitting.network.losses import auxiliary_loss, classification_loss, mixed_classification_loss
from matchka_train.fitting.network.recipe import NetworkRecipe
from matchka_train.fitting.network.windows import Windows, batches_of, draw_windows, mix, waveforms_of

Done = Callable[[int, float], None]  # epoch from 1, mean loss
DrawWindows = Callable[[tuple[str, ...], int, Draw], Windows]


def train_network(recipe: NetworkRecipe, done: Done, draw: DrawWindows = draw_windows) -> RadioNetwork:
    """Train by a recipe.

    Args:
        recipe: validated.
        done: called after every epoch.
        draw: draws the windows of an epoch; trainings of one seed can share them.

    Returns: the network of averaged weights, in evaluation mode.

    Raises: DivergedError: the loss is no longer finite.
    """
    torch.manual_seed(recipe.seed)
    network = RadioNetwork(recipe.network, len(recipe.modulations))
    waveforms = nn.Linear(recipe.network.features, len(waveforms_of(recipe.modulations)))  # not kept
    parameters = [*network.parameters(), *waveforms.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    averaged = copy.deepcopy(network)
    per_epoch = recipe.windows_per_epoch // recipe.batch
    step = 0
    for epoch in range(1, recipe.epochs + 1):
        rng = np.random.default_rng([recipe.seed, epoch])
        windows = draw(recipe.modulations, recipe.windows_per_epoch, Draw(recipe.seed, "train", epoch))
        total = 0.0
        network.train()
        for batch in batches_of(windows, recipe.batch, recipe.snr_balanced, rng):
            for group in optimiser.param_groups:
                group["lr"] = recipe.learning_rate * _rate_at(step / (recipe.epochs * per_epoch), recipe.warmup_share)
            loss = _loss(network, waveforms, batch, recipe, rng)
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            torch.nn.utils.clip_grad_norm_(parameters, recipe.gradient_norm)
            optimiser.step()
            step += 1
            _average(averaged, network, min(recipe.averaging, (1 + step) / (10 + step)))
            total += loss.item()
        if not math.isfinite(total):
            raise DivergedError("The loss is not finite.", value=total, remedy="Lower learning_rate.")
        done(epoch, total / per_epoch)
    return averaged.requires_grad_(False).eval()


def _loss(
    network: RadioNetwork, waveforms: nn.Linear, batch: Windows, recipe: NetworkRecipe, rng: np.random.Generator
) -> torch.Tensor:
    """Of one batch: everything on it as it is, everything on it mixed, or the classifier alone mixed."""
    weight, mixup = recipe.loss.waveform, recipe.mixup

    def look(rows: torch.Tensor) -> tuple[Predictions, torch.Tensor]:
        with _precision(recipe.bfloat16):
            found = network(rows)
        denoised = None if found.denoised is None else found.denoised.float()
        features, logits, snr_db, noise_fraction, pooled = (part.float() for part in found[:5])
        found = Predictions(features, logits, snr_db, noise_fraction, pooled, denoised)
        return found, waveforms(torch.relu(found.features))

    if mixup is None or rng.random() >= mixup.probability:
        found, logits = look(batch.rows)
        auxiliary = auxiliary_loss(network, found, batch, recipe.loss)
        return classification_loss(found, logits, batch, weight) + auxiliary
    mixed = mix(batch, mixup.alpha, mixup.lowest_snr_db, rng)
    found, logits = look(mixed.windows.rows)
    classification = mixed_classification_loss(found, logits, mixed, weight)
    if mixup.classifier_only:
        found, _ = look(batch.rows)
        return classification + auxiliary_loss(network, found, batch, recipe.loss)
    return classification + auxiliary_loss(network, found, mixed.windows, recipe.loss)


def _rate_at(share: float, warmup: float) -> float:
    """Of the learning rate, at a share of all steps: a line up, then half a cosine down.

    >>> [round(_rate_at(share, 0.1), 2) for share in (0.05, 0.1, 0.55, 1.0)]
    [0.5, 1.0, 0.5, 0.0]
    """
    if share < warmup:
        return share / warmup
    return 0.5 * (1 + math.cos(math.pi * (share - warmup) / (1 - warmup)))


def _average(averaged: nn.Module, network: nn.Module, kept: float) -> None:
    with torch.no_grad():
        for mean, value in zip(averaged.state_dict().values(), network.state_dict().values(), strict=True):
            if mean.dtype.is_floating_point:
                mean.lerp_(value, 1 - kept)
            else:
                mean.copy_(value)


@contextmanager
def _precision(bfloat16: bool) -> Iterator[None]:
    with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        yield
