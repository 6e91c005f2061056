"""Frames of 10 ms -> fewer, longer ones."""

import torch


def stack_frames(frames: torch.Tensor, count: int) -> torch.Tensor:
    """Make one frame of several consecutive ones; what is left at the end is dropped.

    Args:
        frames: (n, frames, layers, dim).
        count: how many make one.

    Returns: (n, frames // count, layers, dim * count): each component in all of them, the earliest first, so that
        neighbouring bands stay neighbours.
    """
    kept = frames.shape[1] // count
    layers, dim = frames.shape[2:]
    grouped = frames[:, : kept * count].reshape(-1, kept, count, layers, dim)
    return grouped.permute(0, 1, 3, 4, 2).reshape(-1, kept, layers, dim * count)


def every_last(frames: torch.Tensor, count: int) -> torch.Tensor:
    """Keep the last of every so many frames; what is left at the end is dropped.

    Of a recurrent network, whose state at a frame holds what came before it.

    Args:
        frames: (n, frames, ...).
        count: of how many one is kept.

    Returns: (n, frames // count, ...).
    """
    return frames[:, count - 1 :: count]
