"""Made-up embeddings of identities."""

import numpy as np

from matchka_train.features.features import Features


def make_features(
    identities: int, clips: int, dim: int, domain: str = "a", seed: int = 0, windows: int = 2, spread: float = 0.6
) -> Features:
    """Unit embeddings about one centre for each identity, offset from the origin as real ones are."""
    generator = np.random.default_rng(seed)
    offset = generator.standard_normal(dim) * 2
    centres = generator.standard_normal((identities, dim)) * np.linspace(1.5, 0.2, dim)
    rows = np.repeat(centres, clips * windows, axis=0) + offset
    rows = rows + spread * generator.standard_normal(rows.shape)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    count = identities * clips
    return Features(
        rows.astype(np.float32),
        np.full(count, windows, np.int64),
        tuple(f"{domain}/{number // clips:03d}" for number in range(count)),
        (domain,) * count,
        tuple(f"{domain}/{number:04d}.wav" for number in range(count)),
        np.tile(np.array([[0.0, 1.0]], np.float32), (count, 1)),
    )
