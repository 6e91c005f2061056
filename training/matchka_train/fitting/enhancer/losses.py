"""Losses of an enhancer: each says how far an enhanced small sample is from what the backbone makes of a large one."""

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.nn import functional

from matchka_train.fitting.enhancer.recipe import EnhancerLossRecipe

PIXEL_UNIT = 32.0  # grey levels


@dataclass(frozen=True)
class Bank:
    """What the frozen backbone makes of every sample at full size.

    Attributes:
        views: float32, (2, n, dim), of unit length: of the samples as they are, and of their mirror images.
        subjects: int64, (n,), numbers from 0.
    """

    views: Tensor
    subjects: Tensor

    @cached_property
    def embeddings(self) -> Tensor:
        """The mean of both views, of unit length: float32, (n, dim)."""
        return functional.normalize(self.views.sum(dim=0), dim=1)

    @property
    def classes(self) -> int:
        """How many subjects there are."""
        return int(self.subjects.max()) + 1

    def centres(self) -> Tensor:
        """The mean embedding of each subject, of unit length: float32, (classes, dim)."""
        sums = torch.zeros(self.classes, self.embeddings.shape[1]).index_add(0, self.subjects, self.embeddings)
        return functional.normalize(sums, dim=1)


def paired_loss(embeddings: Tensor, rows: Tensor, mirrored: Tensor, bank: Bank) -> Tensor:
    """1 - the mean cosine of each embedding to its own sample at full size, seen the same way round.

    Args:
        embeddings: (batch, dim), of unit length.
        rows: int64, (batch,), which samples of the bank they are of.
        mirrored: bool, (batch,), which of them are mirror images.
        bank: every sample at full size.
    """
    return 1.0 - (embeddings * bank.views[mirrored.long(), rows]).sum(dim=1).mean()


def contrastive_loss(embeddings: Tensor, rows: Tensor, bank: Bank, temperature: float) -> Tensor:
    """InfoNCE across samples: another sample of the same subject at full size against those of all other subjects.

    A subject of one sample has that one for its other.

    Args:
        embeddings: (batch, dim), of unit length.
        rows: int64, (batch,), which samples of the bank they are of.
        bank: every sample at full size.
        temperature: of the softmax.

    Source: van den Oord et al. 2018, arXiv:1807.03748.
    """
    logits = embeddings @ bank.embeddings.T / temperature
    same = bank.subjects[rows][:, None] == bank.subjects[None, :]
    own = functional.one_hot(rows, len(bank.subjects)).bool()
    others = same & ~own
    wanted = torch.where(others.any(dim=1, keepdim=True), others, own)
    strangers = torch.logsumexp(logits.masked_fill(same, -math.inf), dim=1, keepdim=True)
    each = torch.logaddexp(logits, strangers) - logits
    return (each.masked_fill(~wanted, 0.0).sum(dim=1) / wanted.sum(dim=1)).mean()


class ClassificationLoss(nn.Module):
    """ArcFace over the subjects of a bank, whose class vectors start at the subjects' mean embeddings.

    Source: Deng et al. 2019, arXiv:1801.07698.
    """

    def __init__(self, bank: Bank, margin: float, scale: float) -> None:
        super().__init__()
        self.classes = nn.Parameter(bank.centres())
        self.subjects = bank.subjects
        self.margin, self.scale = margin, scale

    def forward(self, embeddings: Tensor, rows: Tensor) -> Tensor:
        """Of embeddings, (batch, dim), of unit length, of these samples of the bank."""
        cosines = (embeddings @ functional.normalize(self.classes, dim=1).T).clamp(-1 + 1e-6, 1 - 1e-6)
        wanted = self.subjects[rows]
        chosen = functional.one_hot(wanted, cosines.shape[1]).bool()
        with_margin = torch.where(chosen, torch.cos(torch.acos(cosines) + self.margin), cosines)
        return functional.cross_entropy(self.scale * with_margin, wanted)


def pixel_loss(enhanced: Tensor, full: Tensor) -> Tensor:
    """Mean difference of chips, 0..255, of one shape, in PIXEL_UNIT grey levels."""
    return (enhanced - full).abs().mean() / PIXEL_UNIT


class EnhancerLoss(nn.Module):
    """The sum of the losses that count."""

    def __init__(self, recipe: EnhancerLossRecipe, bank: Bank) -> None:
        super().__init__()
        self.recipe, self.bank = recipe, bank
        self.classification = ClassificationLoss(bank, recipe.margin, recipe.scale)

    def forward(self, enhanced: Tensor, full: Tensor, embeddings: Tensor, rows: Tensor, mirrored: Tensor) -> Tensor:
        """Of one batch.

        Args:
            enhanced: chips as float, 0..255.
            full: the same at full size.
            embeddings: of the enhanced ones, of unit length.
            rows: which samples of the bank they are of.
            mirrored: which of them are mirror images.
        """
        recipe = self.recipe
        terms = (
            (recipe.paired, lambda: paired_loss(embeddings, rows, mirrored, self.bank)),
            (recipe.contrastive, lambda: contrastive_loss(embeddings, rows, self.bank, recipe.temperature)),
            (recipe.pixels, lambda: pixel_loss(enhanced, full)),
            (recipe.classification, lambda: self.classification(embeddings, rows)),
        )
        return torch.stack([weight * loss() for weight, loss in terms if weight]).sum()
