"""ReDimNet checkpoints as the makers save theirs, with random weights."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import torch

from matchka_train.backbones.speaker.redimnet.config import parse_config
from matchka_train.backbones.speaker.redimnet.frozen import RedimnetFile
from matchka_train.backbones.speaker.redimnet.network import Redimnet
from matchka_train.weights.source import WeightSource
from tests.factories.redimnet_cases import CASES, SEED, random_weights


def fill(network: Redimnet, seed: int = SEED) -> Redimnet:
    """Put the weights of the seed into a network; the front end keeps what it computed itself."""
    state = network.state_dict()
    weights = random_weights({name: tuple(tensor.shape) for name, tensor in state.items()}, seed)
    network.load_state_dict(state | {name: torch.from_numpy(np.asarray(values)) for name, values in weights.items()})
    return network.eval()


def save_checkpoint(path: Path, case: str, **changes: Any) -> RedimnetFile:
    """A checkpoint as the makers save theirs, and the backbone that reads it."""
    network = fill(Redimnet(parse_config(CASES[case])))
    torch.save({"model_config": CASES[case], "state_dict": network.state_dict()} | changes, path)
    return backbone_of(path)


def backbone_of(path: Path) -> RedimnetFile:
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return RedimnetFile(path, WeightSource("random", "tests", "1", sha256, "MIT"))
