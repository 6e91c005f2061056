"""Random weights that follow from a seed and a parameter's name alone, and networks of every published size.

The same weights can be put into any other implementation with the same parameter names; that is how the expected
numbers in redimnet_numbers.json were made (docs/decisions/070 says with what). The stages of b2 and b5 are those of the
published checkpoints (their numbers of tensors and values agree with the published files); b0, b1, b3, b4 and b6 are
those a public training toolkit gives; of S and M only channels and hop are published, the rest is chosen here.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

SEED = 20261121  # of the weights behind redimnet_numbers.json
KERNELS = [(3, 3)]


def stages(*rows: tuple[int, int, float, int | None]) -> list[tuple[int, int, float, object, int | None]]:
    return [(stride, blocks, expansion, KERNELS, reduction) for stride, blocks, expansion, reduction in rows]


B2_STAGES = stages((1, 2, 1, 12), (2, 2, 1, 12), (1, 3, 1, 12), (3, 4, 1, 8), (1, 4, 1, 8), (2, 4, 1, 4))
B5_STAGES = stages((1, 4, 2, 48), (2, 4, 2, 48), (1, 6, 2, 48), (2, 6, 1, 32), (1, 8, 1, 24), (2, 4, 1, 16))
COMMON: dict[str, Any] = {
    "F": 72,
    "block_1d_type": "conv+att",
    "out_channels": None,
    "embed_dim": 192,
    "hop_length": 240,
    "pooling_func": "ASTP",
    "global_context_att": True,
    "emb_bn": False,
    "feat_type": "pt",
    "spec_params": {"do_spec_aug": False, "freq_mask_width": (0, 6), "time_mask_width": (0, 8)},
}
CONVNEXT, RESNET, GATED = "convnext_like", "basic_resnet", "basic_resnet_fwse"
CASES: dict[str, dict[str, Any]] = {
    "b0": COMMON
    | {"F": 60, "C": 10, "block_2d_type": RESNET, "group_divisor": 1}
    | {"stages_setup": stages((1, 2, 1, 30), (2, 3, 2, 30), (1, 3, 3, 30), (2, 4, 2, 10), (1, 3, 1, 10))},
    "b1": COMMON
    | {"C": 12, "block_2d_type": CONVNEXT, "group_divisor": 8, "global_context_att": False}
    | {"stages_setup": stages((1, 2, 1, None), (2, 3, 1, None), (3, 4, 1, 12), (2, 5, 1, 12), (2, 3, 1, 8))},
    "b2": COMMON | {"C": 16, "block_2d_type": CONVNEXT, "group_divisor": 4, "stages_setup": B2_STAGES},
    "b3": COMMON
    | {"C": 16, "block_2d_type": GATED, "group_divisor": 1}
    | {
        "stages_setup": stages(
            (1, 6, 4, 32), (2, 6, 2, 32), (1, 8, 2, 32), (2, 10, 2, 16), (1, 10, 1, 16), (2, 8, 1, 16)
        )
    },
    "b4": COMMON | {"C": 32, "block_2d_type": GATED, "group_divisor": 1, "stages_setup": B5_STAGES},
    "b5": COMMON | {"C": 32, "block_2d_type": GATED, "group_divisor": 16, "stages_setup": B5_STAGES},
    "b6": COMMON
    | {"C": 32, "block_2d_type": RESNET, "group_divisor": 32}
    | {
        "stages_setup": stages((1, 4, 4, 32), (2, 6, 2, 32), (1, 6, 2, 24), (3, 8, 1, 24), (1, 8, 1, 16), (2, 8, 1, 16))
    },
    "S": COMMON | {"C": 16, "hop_length": 160, "block_2d_type": RESNET, "group_divisor": 4, "stages_setup": B2_STAGES},
    "M": COMMON | {"C": 24, "hop_length": 160, "block_2d_type": RESNET, "group_divisor": 8, "stages_setup": B2_STAGES},
    # b2 with a layer of 512 before pooling and no global context: 1,024 pooled features
    "b2-512": COMMON
    | {"C": 16, "hop_length": 160, "block_2d_type": CONVNEXT, "group_divisor": 4, "stages_setup": B2_STAGES}
    | {"out_channels": 512, "global_context_att": False},
    # everything else the published code offers, in networks small enough to run in every test
    "tiny": COMMON
    | {"F": 24, "C": 8, "block_2d_type": GATED, "group_divisor": 2, "embed_dim": 32}
    | {"stages_setup": stages((1, 1, 1, 12), (2, 1, 2, 6)), "hop_length": 160},
    "att": COMMON
    | {"F": 24, "C": 8, "block_1d_type": "att", "block_2d_type": "convnext_like_relu", "group_divisor": None}
    | {"stages_setup": stages((1, 1, 1, 6), (2, 1, 1.5, 6), (3, 1, 1, None)), "embed_dim": 32, "emb_bn": True},
    "conv": COMMON
    | {"F": 24, "C": 8, "block_1d_type": "conv", "block_2d_type": RESNET, "group_divisor": None, "hop_length": 160}
    | {"stages_setup": stages((2, 1, 1, 6), (1, 1, 2, 6)), "embed_dim": 32, "spec_params": {"norm_signal": True}},
    "fc": COMMON
    | {"F": 24, "C": 8, "block_1d_type": "fc", "block_2d_type": GATED, "group_divisor": 2, "hop_length": 160}
    | {"stages_setup": stages((2, 1, 1, 6), (1, 1, 1, 6)), "embed_dim": 32, "feat_type": "tf"},
}
LENGTHS = {"short": 4_001, "one": 16_000, "odd": 31_111}  # samples


def random_weights(shapes: Mapping[str, tuple[int, ...]], seed: int) -> dict[str, np.ndarray]:
    """One array for each name, whatever their order; buffers of the front end (`spec.`) are left out.

    Scales keep activations near 1, whatever the depth.
    """
    found = {}
    for name, shape in sorted(shapes.items()):
        digest = hashlib.sha256(name.encode()).digest()
        generator = np.random.default_rng([seed, *digest[:8]])
        last = name.rsplit(".", 1)[-1]
        if name.startswith("spec."):
            continue
        if last == "num_batches_tracked":
            found[name] = np.array(7, np.int64)
        elif last == "running_var":
            found[name] = generator.uniform(0.5, 1.5, shape).astype(np.float32)
        elif last in {"bias", "running_mean"}:
            found[name] = (0.1 * generator.standard_normal(shape)).astype(np.float32)
        elif last == "w":
            found[name] = generator.standard_normal(shape).astype(np.float32)
        elif len(shape) == 1:  # gains of normalisations
            found[name] = generator.uniform(0.8, 1.2, shape).astype(np.float32)
        else:
            fan_in = np.prod(shape[1:])
            found[name] = (generator.standard_normal(shape) / np.sqrt(fan_in)).astype(np.float32)
    return found


def made_clip(samples: int) -> np.ndarray:
    """Harmonics that come and go in a little noise, as loud as speech; the length is the seed."""
    generator = np.random.default_rng(samples)
    time_s = np.arange(samples) / 16_000
    phase = 2 * np.pi * np.cumsum(140 + 20 * np.sin(2 * np.pi * 0.7 * time_s)) / 16_000
    tone = sum(np.sin(k * phase + k) / k for k in range(1, 20)) * (0.6 + 0.4 * np.sin(2 * np.pi * 3 * time_s))
    return (0.08 * tone + 0.003 * generator.standard_normal(samples)).astype(np.float32)
