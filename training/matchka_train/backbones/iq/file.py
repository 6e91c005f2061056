"""A trained radio network as one file: weights, parts, modulations, and what was measured of it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from pydantic import Field, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from matchka.bundles.outputs.classes import UnknownRule
from matchka.runtime.atomic_file import write_atomically
from matchka_train.backbones.iq.config import NetworkConfig
from matchka_train.backbones.iq.familiarity import Familiarity
from matchka_train.backbones.iq.network import RadioNetwork
from matchka_train.errors import WeightsError
from matchka_train.strict_model import StrictModel

FORMAT: Final = "matchka-radio-network-1"
DESCRIPTION: Final = "matchka"  # the key of the metadata that holds all of it
FAMILIARITY: Final = "familiarity."


class NetworkDescription(StrictModel):
    """What a file says of its weights.

    Attributes:
        format: of the file.
        network: its parts.
        modulations: in the order of the class output.
        unknown: which recordings are of none of them.
        training: the recipe of its training.
        measured: what was found on windows that it was not trained on.
    """

    format: str = Field(default=FORMAT, pattern=f"^{FORMAT}$")
    network: NetworkConfig
    modulations: tuple[str, ...] = Field(min_length=2)
    unknown: UnknownRule
    training: dict[str, Any]
    measured: dict[str, Any]


@dataclass(frozen=True)
class TrainedNetwork:
    """A network with all that belongs to it. Attributes: description: of it. network: weights. familiarity: fitted."""

    description: NetworkDescription
    network: RadioNetwork
    familiarity: Familiarity


def write_network(path: Path, trained: TrainedNetwork) -> None:
    """Write a network; the file is whole or not there."""
    parts = {"": trained.network, FAMILIARITY: trained.familiarity}
    tensors: dict[str, Tensor] = {
        f"{prefix}{name}": value.contiguous()
        for prefix, part in parts.items()
        for name, value in part.state_dict().items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, save(tensors, {DESCRIPTION: trained.description.model_dump_json()}))


def read_network(path: Path) -> TrainedNetwork:
    """Read a network; nothing in the file is run.

    Raises: WeightsError: no such file, or none that write_network wrote.
    """
    description, tensors = _read(path)
    network = RadioNetwork(description.network, len(description.modulations))
    familiarity = Familiarity(len(description.modulations), description.network.features)
    own = {name: value for name, value in tensors.items() if not name.startswith(FAMILIARITY)}
    fitted = {name.removeprefix(FAMILIARITY): value for name, value in tensors.items() if name not in own}
    try:
        network.load_state_dict(own)
        familiarity.load_state_dict(fitted)
    except RuntimeError as error:
        raise _unreadable(path, error) from error
    return TrainedNetwork(description, network.requires_grad_(False).eval(), familiarity.eval())


def _read(path: Path) -> tuple[NetworkDescription, Mapping[str, Tensor]]:
    try:
        with safe_open(path, "pt") as file:
            content = json.loads((file.metadata() or {})[DESCRIPTION])
            tensors: dict[str, torch.Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no dict
        return NetworkDescription.model_validate(content), tensors
    except (OSError, SafetensorError, KeyError, ValueError, ValidationError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> WeightsError:
    return WeightsError(
        f"{path} is no radio network of this project.", value=error, remedy="Train one with `matchka-train network`."
    )
