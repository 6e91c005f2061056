"""Losses: classification, contrastive, pairwise and distillation, summed over dims."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Final, Literal, Protocol

import torch
from pydantic import Field
from pytorch_metric_learning import distances, losses, miners

from matchka_train.strict_model import StrictModel

ANGULAR: Final = ("aam_softmax", "sub_centre_aam")
DEFAULT_SUB_CENTRES: Final = 3  # as in Deng et al. 2020


class LossRecipe(StrictModel):
    """One loss at every dim, and how the dims and a distillation term weigh.

    Attributes:
        kind: aam_softmax (one classifier per dim), sub_centre_aam (the same with several centres for each identity,
            of which the nearest counts, for labels with errors in them), sup_con, info_nce, triplet, or
            pairwise_logistic.
        margin: of both kinds of aam in radians, of triplet in cosine.
        scale: of both kinds of aam.
        sub_centres: of sub_centre_aam, how many centres an identity has.
        temperature: of sup_con and info_nce.
        dim_weights: weight of each dim, in the order of dims; equal where not given.
        distillation: weight of keeping the frozen backbone's similarities at full dim.
    """

    kind: Literal["aam_softmax", "sub_centre_aam", "sup_con", "info_nce", "triplet", "pairwise_logistic"] = (
        "aam_softmax"
    )
    margin: float = Field(default=0.2, ge=0, lt=math.pi)
    scale: float = Field(default=30.0, gt=0)
    # left out of records at its default: projections that were fitted before it keep theirs
    sub_centres: int = Field(default=DEFAULT_SUB_CENTRES, ge=2, le=16, exclude_if=lambda n: n == DEFAULT_SUB_CENTRES)
    temperature: float = Field(default=0.07, gt=0)
    dim_weights: tuple[float, ...] | None = None
    distillation: float = Field(default=0.0, ge=0)

    @property
    def has_angular_margin(self) -> bool:
        """Whether the margin is added to angles, so that a second stage can enlarge it."""
        return self.kind in ANGULAR


class Batch(Protocol):
    """What a loss sees of a batch; all of one domain.

    Attributes:
        raw: (n, in_dim), the frozen backbone's embeddings.
        labels: int64, (n,), identities, numbered over all domains.
        clips: int64, (n,), which file each row comes from.
        spans: float32, (n, 2), the part of that file, as fractions from 0 to 1.
        domain: number of the domain.
    """

    raw: torch.Tensor
    labels: torch.Tensor
    clips: torch.Tensor
    spans: torch.Tensor
    domain: int


class _PairedBatch:
    """A batch and its pairs, which are found once for all dims, and only for losses that ask for them.

    Pairs count in both orders and are places in the flattened matrix of similarities: to take numbers there and to put
    gradients back costs a fraction of what a mask does, and gives the same bits.
    """

    def __init__(self, batch: Batch) -> None:
        self.labels, self.domain = batch.labels, batch.domain
        self._batch = batch

    @cached_property
    def mated(self) -> torch.Tensor:
        """Of one identity, and not of recordings that overlap: int64, (pairs,)."""
        return (self._same & ~overlapping(self._batch.clips, self._batch.spans)).flatten().nonzero()[:, 0]

    @cached_property
    def non_mated(self) -> torch.Tensor:
        """Of two identities: int64, (pairs,)."""
        return (~self._same).flatten().nonzero()[:, 0]

    @property
    def _same(self) -> torch.Tensor:
        return self.labels[:, None] == self.labels[None]


class MatryoshkaLoss(torch.nn.Module):
    """The same loss on the first d components for every d of dims; the sum is weighted.

    Args:
        recipe: the loss.
        dims: rising; the last is full_dim.
        identities: how many there are over all domains.
        domains: how many there are.

    Source: Kusupati et al. 2022, arXiv:2205.13147.
    """

    def __init__(self, recipe: LossRecipe, dims: Sequence[int], identities: int, domains: int) -> None:
        super().__init__()
        self.dims = tuple(dims)
        weights = recipe.dim_weights or (1.0,) * len(self.dims)
        self.weights = [weight / sum(weights) for weight in weights]
        self.distillation = recipe.distillation
        make = _MAKERS[recipe.kind]
        self.per_dim = torch.nn.ModuleList([make(recipe, dim, identities, domains) for dim in self.dims])

    def set_margin(self, margin: float) -> None:
        """Change the margin of every dim's loss, one that is added to angles, to so many radians."""
        for per_dim in self.per_dim:
            per_dim.loss.margin = margin  # type: ignore[union-attr]  # once made, it holds radians

    def forward(self, embeddings: torch.Tensor, batch: Batch) -> torch.Tensor:
        """The loss of clip embeddings (n, full_dim), not rescaled; a scalar."""
        seen = _PairedBatch(batch)
        terms = [
            weight * loss(torch.nn.functional.normalize(embeddings[:, :dim], dim=1), seen)
            for dim, weight, loss in zip(self.dims, self.weights, self.per_dim, strict=True)
        ]
        if self.distillation:
            terms.append(self.distillation * similarity_distillation(embeddings, batch.raw))
        return torch.stack(terms).sum()


def similarity_distillation(embeddings: torch.Tensor, raw: torch.Tensor) -> torch.Tensor:
    """Mean squared difference between the cosines of a batch before and after the projection.

    Args:
        embeddings: (n, full_dim).
        raw: (n, in_dim).

    Source: Tung and Mori 2019, similarity-preserving knowledge distillation, arXiv:1907.09682, with cosines.
    """
    after = torch.nn.functional.normalize(embeddings, dim=1)
    before = torch.nn.functional.normalize(raw, dim=1)
    return (after @ after.T - before @ before.T).square().mean()


class PairwiseLogistic(torch.nn.Module):
    """Mated against non-mated pairs of a batch by logistic regression on their cosine; both kinds weigh the same.

    Scale and offset are learnt per domain, so that no domain has to share another one's threshold. Pairs whose
    recordings overlap (views of one clip) are left out: they are alike whatever the speaker.
    """

    def __init__(self, domains: int) -> None:
        super().__init__()
        # the line 10 s - 5 is near the calibration of raw embeddings; it is learnt ten times faster than they are
        self.scale = torch.nn.Parameter(torch.full((domains,), 10.0))
        self.offset = torch.nn.Parameter(torch.full((domains,), -5.0))

    def forward(self, unit: torch.Tensor, batch: _PairedBatch) -> torch.Tensor:
        """The loss of unit-length embeddings (n, dim); a scalar."""
        ratio = (self.scale[batch.domain] * (unit @ unit.T) + self.offset[batch.domain]).flatten()
        misses = torch.nn.functional.softplus(-ratio.index_select(0, batch.mated)).mean()
        false_alarms = torch.nn.functional.softplus(ratio.index_select(0, batch.non_mated)).mean()
        return misses + false_alarms


def overlapping(clips: torch.Tensor, spans: torch.Tensor) -> torch.Tensor:
    """Which rows hold some of the same recording; each row overlaps itself.

    Args:
        clips: int64, (n,).
        spans: (n, 2).

    Returns: bool, (n, n).

    >>> overlapping(torch.tensor([0, 0, 1]), torch.tensor([[0, 0.5], [0.5, 1], [0, 1]])).int().tolist()
    [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    """
    starts, ends = spans[:, 0], spans[:, 1]
    meets = (starts[:, None] < ends[None]) & (starts[None] < ends[:, None])
    return (clips[:, None] == clips[None]) & meets


class _LabelLoss(torch.nn.Module):
    """A loss of pytorch-metric-learning, which sees unit-length embeddings and labels."""

    def __init__(self, loss: torch.nn.Module, miner: torch.nn.Module | None = None) -> None:
        super().__init__()
        self.loss, self.miner = loss, miner

    def forward(self, unit: torch.Tensor, batch: _PairedBatch) -> torch.Tensor:
        chosen = None if self.miner is None else self.miner(unit, batch.labels)
        result: torch.Tensor = self.loss(unit, batch.labels, chosen)
        return result


def _aam(recipe: LossRecipe, dim: int, identities: int) -> torch.nn.Module:
    """Source: Deng et al. 2019, ArcFace, arXiv:1801.07698."""
    return _LabelLoss(losses.ArcFaceLoss(identities, dim, margin=math.degrees(recipe.margin), scale=recipe.scale))


def _sub_centre_aam(recipe: LossRecipe, dim: int, identities: int) -> torch.nn.Module:
    """Source: Deng et al. 2020, Sub-center ArcFace, ECCV."""
    return _LabelLoss(
        losses.SubCenterArcFaceLoss(
            num_classes=identities,
            embedding_size=dim,
            margin=math.degrees(recipe.margin),
            scale=recipe.scale,
            sub_centers=recipe.sub_centres,
        )
    )


def _triplet(recipe: LossRecipe) -> torch.nn.Module:
    cosine = distances.CosineSimilarity()
    miner = miners.TripletMarginMiner(margin=recipe.margin, distance=cosine, type_of_triplets="all")
    return _LabelLoss(losses.TripletMarginLoss(margin=recipe.margin, distance=cosine), miner)


# of one dim, by kind: made of the recipe, the dim, the identities and the domains
_MAKERS: Final[Mapping[str, Callable[[LossRecipe, int, int, int], torch.nn.Module]]] = {
    "aam_softmax": lambda recipe, dim, identities, _: _aam(recipe, dim, identities),
    "sub_centre_aam": lambda recipe, dim, identities, _: _sub_centre_aam(recipe, dim, identities),
    "sup_con": lambda recipe, *_: _LabelLoss(losses.SupConLoss(temperature=recipe.temperature)),
    "info_nce": lambda recipe, *_: _LabelLoss(losses.NTXentLoss(temperature=recipe.temperature)),
    "triplet": lambda recipe, *_: _triplet(recipe),
    "pairwise_logistic": lambda _recipe, _dim, _identities, domains: PairwiseLogistic(domains),
}
