"""Masking: stretches of time and of components are hidden in training, so that a head leans on none of them."""

from collections.abc import Sequence

import torch
from pydantic import Field
from torch import Tensor

from matchka_train.strict_model import StrictModel


class Masking(StrictModel):
    """Masks, drawn anew for each clip and step with torch's generator.

    Attributes:
        frames: longest stretch of time, in frames; the same for all encoders.
        every_frames: one such mask for so many frames of the batch.
        share: largest share of the components of an encoder that is hidden as a stretch: bands, of a spectrum.
        bands: how many such masks.
        until: share of the epochs after which nothing is hidden any more; 1 hides to the end.

    Source: Park et al. 2019, arXiv:1904.08779.
    """

    frames: int = Field(default=8, ge=0)
    every_frames: int = Field(default=60, ge=1)
    share: float = Field(default=0.2, ge=0, lt=1)
    bands: int = Field(default=2, ge=0)
    until: float = Field(default=1.0, gt=0, le=1)

    def hide(self, parts: Sequence[Tensor], lengths: Tensor | None) -> list[Tensor]:
        """Zero what is masked: (n, frames, dim) of each encoder -> the same, copied."""
        count, frames = parts[0].shape[:2]
        ends = torch.full((count,), frames) if lengths is None else lengths
        kept = torch.ones(count, frames, 1)
        for _ in range(max(1, frames // self.every_frames)):
            kept = kept * ~_stretch(frames, torch.full((count,), self.frames), ends)[..., None]
        return [self._hide_bands(part * kept) for part in parts]

    def _hide_bands(self, part: Tensor) -> Tensor:
        count, _, dim = part.shape
        for _ in range(self.bands):
            part = (
                part * ~_stretch(dim, torch.full((count,), int(self.share * dim)), torch.full((count,), dim))[:, None]
            )
        return part


def _stretch(size: int, widest: Tensor, ends: Tensor) -> Tensor:
    """True for a stretch of 0 to `widest` places that ends before `ends`: (n, size)."""
    width = (torch.rand(len(ends)) * (widest + 1)).long()
    start = (torch.rand(len(ends)) * (ends - width + 1).clamp(min=1)).long()
    places = torch.arange(size)[None]
    return (places >= start[:, None]) & (places < (start + width)[:, None])
