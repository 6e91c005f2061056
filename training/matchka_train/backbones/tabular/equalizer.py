"""Settings of an equalizer -> their places in their ranges and the response curve, both of them inside the graph."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

from matchka.modalities.tabular.spec import TabularInputSpec
from matchka_train.backbones.tabular.response import GRID_POINTS, Band, ResponseCurve, level_removed
from matchka_train.backbones.tabular.scaling import FieldScaling
from matchka_train.weights.source import WeightSource

DB_PER_UNIT: Final = 6.0  # of the curve among features, so that it varies about as much as the places do


@dataclass(frozen=True)
class Equalizer:
    """What settings are turned into before anything is learned; see matchka_train.backbones.backbone.Backbone.

    Its features are not of unit length: how strong a setting is lies in their length.

    Attributes:
        input: the numbers, with their ranges.
        bands: the filters that they set.
        aside: the number that the curve is made without.
        aside_value: what the curve takes for it, in its unit.
    """

    input: TabularInputSpec
    bands: tuple[Band, ...]
    aside: str
    aside_value: float

    name: str = "equalizer"
    auxiliary: tuple[()] = ()

    @property
    def published(self) -> "Equalizer":
        """Itself."""
        return self

    @property
    def embedding_dim(self) -> int:
        """Components of the features."""
        return len(self.input.fields) + GRID_POINTS

    @property
    def source(self) -> WeightSource:
        """The filters, known by their values: nothing in them is learned."""
        stated = [band.model_dump() for band in self.bands]
        values = json.dumps([stated, self.aside, self.aside_value, GRID_POINTS], sort_keys=True)
        return WeightSource(
            name="analogue prototypes of an equalizer's filters",
            source="computed by matchka-train from the filters' formulae",
            version="1",
            sha256=hashlib.sha256(values.encode()).hexdigest(),
            licence="Apache-2.0",
        )

    def module(self) -> "EqualizerFeatures":
        """The features; see Backbone.module."""
        return EqualizerFeatures(self.input, self.bands, self.aside, self.aside_value).eval()


class EqualizerFeatures(nn.Module):
    """Settings -> (n, fields + GRID_POINTS): places from -1 to 1, then the curve in DB_PER_UNIT, level removed."""

    others: Tensor
    aside_place: Tensor

    def __init__(self, spec: TabularInputSpec, bands: Sequence[Band], aside: str, aside_value: float) -> None:
        super().__init__()
        names = [field.name for field in spec.fields]
        self.aside = names.index(aside)
        self.scaling = FieldScaling(spec.fields)
        self.response = ResponseCurve(bands, names)
        self.register_buffer("others", torch.tensor([number for number in range(len(names)) if number != self.aside]))
        middle = torch.full((1, len(names)), 1.0)
        middle[0, self.aside] = aside_value
        self.register_buffer("aside_place", self.scaling(middle)[0, self.aside] * 2 - 1)

    def forward(self, values: Tensor) -> Tensor:
        """Float32, (n, fields), in the fields' units -> features."""
        return self.of_places(self.places(values))

    def places(self, values: Tensor) -> Tensor:
        """Where each number lies in its range, from -1 to 1."""
        found: Tensor = self.scaling(values) * 2 - 1
        return found

    def values(self, places: Tensor) -> Tensor:
        """The numbers in their units; what lies outside a range becomes its end."""
        found: Tensor = self.scaling.values((places + 1) / 2)
        return found

    def of_places(self, places: Tensor) -> Tensor:
        """The features of settings that are given by their places."""
        curve: Tensor = level_removed(self.response(self.values(self.without_aside(places)))) / DB_PER_UNIT
        features: Tensor = torch.cat([places, curve], dim=1)
        return features

    def without_aside(self, places: Tensor) -> Tensor:
        """Places with that of the number kept aside at its fixed value."""
        at = torch.arange(places.shape[1]) == self.aside
        kept: Tensor = torch.where(at, self.aside_place, places)
        return kept
