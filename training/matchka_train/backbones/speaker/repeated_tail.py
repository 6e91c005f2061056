"""What stands behind the end of a clip that ends inside a window."""

import torch
from torch import Tensor, nn


class RepeatedTail(nn.Module):
    """Windows whose zeros behind the last sample are filled with the window's own samples from its start.

    A clip that ends inside a window leaves zeros there. The network subtracts the mean of each band over the window, so
    zeros would shift every frame of speech; a repeated clip does not.
    """

    def forward(self, windows: Tensor) -> Tensor:
        """Fill: (n, samples) -> (n, samples); a window of zeros stays one, one that is full is not changed."""
        at = torch.arange(windows.shape[1], device=windows.device)
        ends = torch.where(windows != 0, at + 1, torch.zeros_like(at)).amax(dim=1, keepdim=True).clamp(min=1)
        return torch.gather(windows, 1, torch.remainder(at, ends))
