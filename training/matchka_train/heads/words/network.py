"""Features of settings -> an embedding with an inverse, the axis between two words, and settings again."""

from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from matchka_train.backbones.tabular.equalizer import EqualizerFeatures

EMBEDDING, WORD, AXIS, PARAMETERS = "embeddings", "word", "axis", "parameters"  # what the graph calls its outputs


class Decoder(nn.Module):
    """The first components of an embedding -> places of all numbers: a linear map, and what it misses."""

    def __init__(self, dim: int, hidden: int, fields: int) -> None:
        super().__init__()
        self.linear = nn.Linear(dim, fields)
        self.first = nn.Linear(dim, hidden)
        self.second = nn.Linear(hidden, fields)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)

    def forward(self, embeddings: Tensor) -> Tensor:
        """(n, full_dim) -> (n, fields); not limited to ranges."""
        kept = embeddings[:, : self.linear.in_features]
        found: Tensor = self.linear(kept) + self.second(nn.functional.gelu(self.first(kept)))
        return found


class WordsModel(nn.Module):
    """What is exported.

    The first component of an embedding is the place on the axis, as the log-odds of the second word. The others are a
    rotation of the places of all numbers but the one kept aside. The axis depends on that one linearly and on the
    others as it likes (through the response curve), so the map can be inverted in closed form at full dim.

    Args:
        features: the frozen part.
        dims: rising; the last is the number of fields.
        hidden: units of the decoders of the shorter dims.
        has_words: whether the axis stands between two words; without, there is neither a class nor a value.
    """

    axis_weight: Tensor
    axis_bias: Tensor
    mean: Tensor
    rotation: Tensor

    def __init__(self, features: EqualizerFeatures, dims: Sequence[int], hidden: int, has_words: bool) -> None:
        super().__init__()
        fields, width = dims[-1], dims[-1] + len(features.response.grid)
        self.features = features
        self.dims = tuple(dims)
        self.has_words = has_words
        self.register_buffer("axis_weight", torch.zeros(width))
        self.register_buffer("axis_bias", torch.zeros(()))
        self.register_buffer("mean", torch.zeros(fields - 1))
        self.register_buffer("rotation", torch.eye(fields - 1))
        self.decoders = nn.ModuleList([Decoder(dim, hidden, fields) for dim in dims[:-1]])

    @property
    def output_names(self) -> tuple[str, ...]:
        """Of what `forward` returns."""
        return (EMBEDDING, WORD, AXIS, PARAMETERS) if self.has_words else (EMBEDDING, PARAMETERS)

    def decoder(self, dim: int) -> Decoder:
        """That of a dim below the full one."""
        return cast("Decoder", self.decoders[self.dims.index(dim)])

    def forward(self, values: Tensor) -> tuple[Tensor, ...]:
        """Settings, float32, (n, fields) -> each output, (n, ...); the parameters (n, dims, fields), in their units."""
        embeddings = self.embed(values)
        axis = embeddings[:, :1]
        settings = torch.stack([self.settings(embeddings, dim) for dim in self.dims], dim=1)
        if not self.has_words:
            return embeddings, settings
        return embeddings, torch.cat([-axis / 2, axis / 2], dim=1), axis.clone(), settings

    def embed(self, values: Tensor) -> Tensor:
        """(n, fields) -> (n, full_dim), not of unit length."""
        features = self.features(values)
        others = (features[:, self.features.others] - self.mean) @ self.rotation
        return torch.cat([(features @ self.axis_weight + self.axis_bias)[:, None], others], dim=1)

    def settings(self, embeddings: Tensor, dim: int) -> Tensor:
        """Settings of embeddings that are not of unit length, from their first `dim` components: always in range."""
        if dim == self.dims[-1]:
            return self.features.values(self._inverse(embeddings))
        return self.features.values(self.decoder(dim)(embeddings))

    def _inverse(self, embeddings: Tensor) -> Tensor:
        others = embeddings[:, 1:] @ self.rotation.T + self.mean
        at = self.features.aside
        places = torch.cat([others[:, :at], torch.zeros_like(others[:, :1]), others[:, at:]], dim=1)
        rest = self.features.of_places(places) @ self.axis_weight + self.axis_bias
        aside = (embeddings[:, 0] - rest) / self.axis_weight[at]
        return torch.cat([others[:, :at], aside[:, None], others[:, at:]], dim=1)

    def learned(self) -> Mapping[str, Tensor]:
        """The learned numbers alone."""
        return {name: tensor for name, tensor in self.state_dict().items() if not name.startswith("features.")}
