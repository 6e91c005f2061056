"""Tensors with a description in one .safetensors file, the same bytes for the same content."""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save

from matchka.runtime.atomic_file import write_atomically


def write_tensors(path: Path, tensors: Mapping[str, torch.Tensor], description: Mapping[str, str]) -> None:
    """Write tensors and what they are.

    Args:
        path: ends in .safetensors.
        tensors: by name.
        description: goes into the file's metadata.
    """
    content = save({name: tensor.contiguous() for name, tensor in tensors.items()}, dict(description))
    write_atomically(path, _in_fixed_order(content))


def read_tensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Read tensors and what they are.

    Raises: OSError, safetensors.SafetensorError: no such file, or not of this kind.
    """
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118 - not a mapping


def _in_fixed_order(content: bytes) -> bytes:
    """The same file with its header sorted: the library's order changes from run to run, and with it every sha256."""
    size = int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8 : 8 + size]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)  # tensors stay aligned
    return len(header).to_bytes(8, "little") + header + content[8 + size :]
