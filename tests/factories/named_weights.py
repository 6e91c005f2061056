"""Weights that depend on a seed and on a parameter's name alone, so that two implementations get the same."""

import hashlib

import numpy as np
import torch


def weights_by_name(shapes: dict[str, tuple[int, ...]], seed: int) -> dict[str, torch.Tensor]:
    """Uniform random weights under which activations neither vanish nor explode.

    Matrices and kernels have variance 2 / fan-in, offsets are small, and what scales (norms, layer scales,
    temperatures) lies about 1, so that every parameter shows in the output.
    """
    return {name: torch.from_numpy(_weight(name, shape, seed)) for name, shape in shapes.items()}


def _weight(name: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    # Generator.random takes the top bits of PCG64 and nothing else: the same numbers with every version of numpy
    generator = np.random.default_rng([seed, *hashlib.sha256(name.encode()).digest()])
    drawn = 2.0 * generator.random(shape) - 1.0
    if name.endswith("bias"):
        values = 0.2 * drawn
    elif len(shape) == 1 or name.endswith("temperature"):
        values = 1.0 + 0.5 * drawn
    else:
        values = drawn * np.sqrt(3.0 * 2.0 / np.prod(shape[1:]))
    return values.astype(np.float32)


def random_chips(count: int, side_px: int, seed: int) -> np.ndarray:
    """Chips with coarse patches and fine noise: uint8, (count, side_px, side_px, 3)."""
    generator = np.random.default_rng(seed)
    coarse = np.kron(generator.random((count, 7, 7, 3)), np.ones((1, side_px // 7, side_px // 7, 1)))
    fine = generator.random((count, side_px, side_px, 3))
    return np.floor(256 * (0.8 * coarse + 0.2 * fine)).astype(np.uint8)
