"""What a frame is read from: itself, its neighbours, or the whole clip."""

from typing import Final

import torch
from torch import Tensor, nn

KERNEL: Final = 5  # frames that a convolution sees: 150 ms at 30 ms a frame, about one phone and its neighbours


class NoContext(nn.Module):
    """Each frame by itself.

    Args: in_dim: components of a frame.
    """

    def __init__(self, in_dim: int) -> None:
        super().__init__()
        self.out_dim = in_dim

    def forward(self, frames: Tensor, lengths: Tensor | None) -> Tensor:  # noqa: ARG002 - the form of the others
        """The frames: (n, frames, in_dim)."""
        return frames


class ConvolutionContext(nn.Module):
    """Convolutions over time, a ReLU behind each; what lies beyond a clip is zero for each of them.

    Args:
        in_dim: components of a frame.
        width: components that come out.
        layers: how many convolutions.
        dropout: share of the components left out in training.
    """

    def __init__(self, in_dim: int, width: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.out_dim = width
        self.convolutions = nn.ModuleList(
            nn.Conv1d(width if number else in_dim, width, KERNEL, padding=KERNEL // 2) for number in range(layers)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, frames: Tensor, lengths: Tensor | None) -> Tensor:
        """Convolve.

        Args:
            frames: (n, frames, in_dim), zero beyond each clip.
            lengths: int64, (n,), frames of each clip; None where all are as long as the batch.

        Returns: (n, frames, width), zero beyond each clip.
        """
        for convolution in self.convolutions:
            frames = torch.relu(convolution(frames.transpose(1, 2)).transpose(1, 2))
            frames = clear_padding(self.dropout(frames), lengths)
        return frames


class BothDirections(nn.Module):
    """An LSTM forwards and one backwards over each clip; the backward one begins at the clip's own last frame.

    The library's packed sequences give the same and take four times as long on a CPU.

    Args:
        in_dim: components of a frame.
        width: of each direction.
    """

    def __init__(self, in_dim: int, width: int) -> None:
        super().__init__()
        self.forwards = nn.LSTM(in_dim, width, batch_first=True)
        self.backwards = nn.LSTM(in_dim, width, batch_first=True)

    def forward(self, frames: Tensor, lengths: Tensor | None) -> Tensor:
        """Read: (n, frames, in_dim) -> (n, frames, 2 * width); beyond a clip's length nothing of use."""
        ahead, _ = self.forwards(frames)
        back, _ = self.backwards(_reversed(frames, lengths))
        return torch.cat([ahead, _reversed(back, lengths)], dim=-1)


class RecurrentContext(nn.Module):
    """A convolution, then LSTM layers in both directions over the clip.

    Args:
        in_dim: components of a frame.
        width: of the convolution, and of each direction.
        layers: how many LSTM layers.
        dropout: share of the components left out in training, behind the convolution and behind each layer.
        skip: whether the convolution comes out beside the last layer. Through it the classes learn from the first
            epoch on, when LSTM layers, by themselves, leave everything blank for five to ten.

    Source: Graves and Schmidhuber 2005, Framewise phoneme classification with bidirectional LSTM.
    """

    def __init__(self, in_dim: int, width: int, layers: int, dropout: float, *, skip: bool) -> None:
        super().__init__()
        self.out_dim = (3 if skip else 2) * width
        self.skip = skip
        self.convolution = ConvolutionContext(in_dim, width, 1, dropout)
        self.layers = nn.ModuleList(BothDirections(2 * width if number else width, width) for number in range(layers))
        self.dropout = nn.Dropout(dropout)

    def forward(self, frames: Tensor, lengths: Tensor | None) -> Tensor:
        """Read forwards and backwards: (n, frames, in_dim) -> (n, frames, out_dim)."""
        convolved: Tensor = self.convolution(frames, lengths)
        states = convolved
        for layer in self.layers:
            states = self.dropout(layer(states, lengths))
        return torch.cat([states, convolved], dim=-1) if self.skip else states


def clear_padding(frames: Tensor, lengths: Tensor | None) -> Tensor:
    """Zeros beyond each clip: (n, frames, dim); without lengths every frame is a clip's own."""
    if lengths is None:
        return frames
    return frames * (torch.arange(frames.shape[1])[None] < lengths[:, None])[..., None]


def _reversed(frames: Tensor, lengths: Tensor | None) -> Tensor:
    """Each clip's own frames backwards, what lies beyond where it was: (n, frames, dim)."""
    if lengths is None:
        return frames.flip(1)
    places = torch.arange(frames.shape[1])[None]
    mirrored = torch.where(places < lengths[:, None], lengths[:, None] - 1 - places, places)
    return frames.gather(1, mirrored[..., None].expand_as(frames))
