"""A checkpoint's file -> the network it holds; nothing in the file is ever run."""

import io
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch

from matchka_train.backbones.speaker.redimnet.config import RedimnetConfig, parse_config
from matchka_train.backbones.speaker.redimnet.network import Redimnet
from matchka_train.errors import WeightsError

CONFIG: Final = "model_config"
WEIGHTS: Final = "state_dict"
MOST_SHOWN: Final = 3  # names in a message
# what torch's restricted unpickler raises on bytes that are no checkpoint depends on the bytes
_DAMAGED: Final = (OSError, RuntimeError, EOFError, LookupError, ValueError, TypeError, AttributeError)
_REMEDY: Final = "Use an official checkpoint of ReDimNet, as its makers published it."


def read_checkpoint(path: Path, content: bytes) -> tuple[RedimnetConfig, dict[str, torch.Tensor]]:
    """What a checkpoint holds, its `model_config` and its `state_dict`: tensors and plain values, and nothing else.

    Args:
        path: of the file, for messages.
        content: its bytes.

    Raises: WeightsError: damaged, cut short, something else, or an object that would have to run code.
    """
    try:
        loaded: Any = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{path} holds something else than tensors and plain values; nothing of it was run.",
            value=error,
            remedy=_REMEDY,
        ) from error
    except _DAMAGED as error:
        raise WeightsError(f"{path} is damaged or no checkpoint.", value=error, remedy="Fetch it again.") from error
    entries = loaded if isinstance(loaded, Mapping) else {}
    config, state = entries.get(CONFIG), entries.get(WEIGHTS)
    if not (isinstance(config, Mapping) and isinstance(state, Mapping)):
        found = sorted(map(str, entries))[:MOST_SHOWN] or type(loaded).__name__
        raise WeightsError(f"{path} must hold {CONFIG} and {WEIGHTS}.", value=found, remedy=_REMEDY)
    _require_tensors(path, state)
    return parse_config(config), dict(state)


def build_network(path: Path, config: RedimnetConfig, state: Mapping[str, torch.Tensor]) -> Redimnet:
    """The network with the checkpoint's weights in place, frozen and in evaluation mode.

    Args:
        path: of the file, for messages.
        config: the network.
        state: every parameter and buffer of it, by name, and no other.

    Raises: WeightsError: the weights are of another network than the checkpoint describes.
    """
    try:
        with torch.device("meta"):  # shapes without memory: the file's own size bounds what is built after it
            shapes = Redimnet(config).state_dict()
    except (ValueError, RuntimeError, ZeroDivisionError) as error:
        raise WeightsError(f"{path} describes no network that can be built.", value=error, remedy=_REMEDY) from error
    _require_fit(path, shapes, state)
    network = Redimnet(config)
    network.load_state_dict(state)
    network.requires_grad_(requires_grad=False)
    return network.eval()


def _require_tensors(path: Path, state: Mapping[str, Any]) -> None:
    for name, tensor in state.items():
        if not isinstance(tensor, torch.Tensor) or not bool(torch.isfinite(tensor).all()):
            raise WeightsError(f"{path}: {name} must be a tensor of finite numbers.", value=tensor, remedy=_REMEDY)


def _require_fit(path: Path, own: Mapping[str, torch.Tensor], given: Mapping[str, torch.Tensor]) -> None:
    missing = [f"{name} is missing" for name in own if name not in given]
    unknown = [f"{name} is not known" for name in given if name not in own]
    others = [
        f"{name} is {tuple(given[name].shape)}, not {tuple(tensor.shape)}"
        for name, tensor in own.items()
        if name in given and given[name].shape != tensor.shape
    ]
    wrong = missing + unknown + others
    if wrong:
        shown = "; ".join(wrong[:MOST_SHOWN])
        raise WeightsError(
            f"{path}: the weights are of another network than {CONFIG} describes, in {len(wrong)} places.",
            value=shown,
            remedy=_REMEDY,
        )
