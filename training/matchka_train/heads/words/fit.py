"""Fits a model of settings: the axis first, then a rotation with decoders that lose little of the response curve."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor

from matchka_train.backbones.tabular.equalizer import Equalizer
from matchka_train.heads.words.axis import fit_axis
from matchka_train.heads.words.network import WordsModel
from matchka_train.heads.words.recipe import WordsRecipe
from matchka_train.heads.words.table import Presets, Values

BATCH: Final = 256
RIDGE: Final = 1e-2
OUT_OF_RANGE: Final = 5.0  # cost in dB of a place that lies a whole half range outside
OFF_PLACE: Final = 0.3  # cost in dB of a place that is wrong by half its range where the curve does not tell
WEIGHT_DECAY: Final = 1e-2


@dataclass(frozen=True)
class Axis:
    """Log-odds as a linear function of features.

    Attributes:
        weight: (width,).
        offset: log-odds where all features are 0.
        has_words: whether words stand at its ends.
    """

    weight: Values
    offset: float
    has_words: bool = True


def backbone_of(recipe: WordsRecipe) -> Equalizer:
    """The frozen part."""
    return Equalizer(recipe.input, recipe.bands, recipe.kept_aside, recipe.aside_value)


def fit_words(recipe: WordsRecipe, presets: Presets) -> WordsModel:
    """Fit everything on rows of training contributors.

    Args:
        recipe: how.
        presets: rows of any words; the axis is fitted on those of the recipe's two.
    """
    spoken = presets.of_words(recipe.words)
    features = backbone_of(recipe).module()
    rows = features(_tensor(spoken.values)).double().numpy()
    is_second = (spoken.words == recipe.words[1]).astype(float)
    weight, offset = fit_axis(rows, is_second, spoken.weights(recipe.cap), recipe.penalty, features.aside)
    return fit_settings(recipe, presets, Axis(weight, offset))


def fit_settings(recipe: WordsRecipe, presets: Presets, axis: Axis) -> WordsModel:
    """Fit rotation and decoders along an axis that is known.

    Every step draws rows by their capped weights. The loss is the curve's RMS error in dB at every shorter dim, on
    settings that are limited to their ranges, as the service would give them out.
    """
    torch.manual_seed(recipe.seed)
    model = WordsModel(backbone_of(recipe).module(), recipe.dims, recipe.decoder.hidden, axis.has_words)
    model.axis_weight.copy_(torch.tensor(axis.weight))
    model.axis_bias.copy_(torch.tensor(axis.offset))
    values, weights = _tensor(presets.values), _tensor(presets.weights(recipe.cap))
    with torch.no_grad():
        places = model.features.places(values)
        others = places[:, model.features.others]
        share = weights / weights.sum()
        model.mean.copy_(share @ others)
        centred = others - model.mean
        axes = torch.linalg.eigh((centred * share[:, None]).T @ centred).eigenvectors.flip(1)
        model.rotation.copy_(axes)
        _start_decoders(model, model.embed(values), places, share)
    turn = torch.nn.Parameter(torch.zeros_like(axes))
    optimiser = torch.optim.AdamW([turn, *model.decoders.parameters()], recipe.decoder.rate, weight_decay=WEIGHT_DECAY)
    generator = torch.Generator().manual_seed(recipe.seed)
    for step in range(recipe.decoder.steps):
        optimiser.param_groups[0]["lr"] = recipe.decoder.rate * 0.5 * (1 + np.cos(np.pi * step / recipe.decoder.steps))
        drawn = _mixed(places, torch.multinomial(share, 2 * BATCH, replacement=True, generator=generator), generator)
        settings = model.features.values(drawn)
        model.rotation = axes @ _rotation_of(turn)
        embeddings, curves = model.embed(settings), model.features.response(settings)
        loss = torch.stack([_loss(model, each(embeddings), drawn, curves) for each in model.decoders])
        optimiser.zero_grad()
        torch.autograd.backward(loss.sum())
        optimiser.step()
    model.rotation = (axes @ _rotation_of(turn)).detach()
    return model.requires_grad_(requires_grad=False).eval()


def _start_decoders(model: WordsModel, embeddings: Tensor, places: Tensor, share: Tensor) -> None:
    for dim in model.dims[:-1]:
        decoder = model.decoder(dim)
        known = torch.cat([embeddings[:, :dim], torch.ones(len(embeddings), 1)], dim=1)
        weighted = (known * share[:, None]).T
        solved = torch.linalg.solve(weighted @ known + RIDGE / len(places) * torch.eye(dim + 1), weighted @ places)
        decoder.linear.weight.copy_(solved[:dim].T)
        decoder.linear.bias.copy_(solved[dim])


def _mixed(places: Tensor, drawn: Tensor, generator: torch.Generator) -> Tensor:
    """Settings, and for half of them settings on the way to another: there are few, and none on these ways."""
    one, other = places[drawn[:BATCH]], places[drawn[BATCH:]]
    shares = torch.rand(BATCH, 1, generator=generator)
    shares[: BATCH // 2] = 1.0
    return shares * one + (1 - shares) * other


def _rotation_of(turn: Tensor) -> Tensor:
    """Cayley's map: any square matrix -> a rotation, the identity for 0."""
    skew, one = turn - turn.T, torch.eye(len(turn))
    found: Tensor = torch.linalg.solve(one + skew, one - skew)
    return found


def _loss(model: WordsModel, found: Tensor, places: Tensor, curves: Tensor) -> Tensor:
    limited = found.clamp(-1.0, 1.0)
    curve = model.features.response(model.features.values(limited))
    error = (curve - curves).square().mean(dim=1).add(1e-6).sqrt().mean()
    outside, off = (found - limited).square().mean(), (limited - places).square().mean()
    total: Tensor = error + OUT_OF_RANGE * outside + OFF_PLACE * off
    return total


def _tensor(values: Values) -> Tensor:
    return torch.tensor(values, dtype=torch.float32)
