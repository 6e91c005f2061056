"""A radio network that is trained on nothing, small enough for every test."""

import torch

from matchka.bundles.outputs.classes import UnknownRule
from matchka.bundles.outputs.condition import Condition
from matchka_train.backbones.iq.config import NetworkConfig
from matchka_train.backbones.iq.familiarity import fit_familiarity
from matchka_train.backbones.iq.file import NetworkDescription, TrainedNetwork
from matchka_train.backbones.iq.network import RadioNetwork

MODULATIONS = ("BPSK", "GFSK", "WBFM")


def tiny_network(seed: int = 0) -> TrainedNetwork:
    torch.manual_seed(seed)
    config = NetworkConfig(channels=4, recurrent=4, features=8, spectra=1)
    network = RadioNetwork(config, len(MODULATIONS))
    with torch.no_grad():
        for _ in range(5):
            network(torch.randn(64, 2, 128))  # its normalisations get to know their inputs
    network.requires_grad_(False).eval()
    features = network(torch.randn(90, 2, 128)).features
    familiarity = fit_familiarity(features, torch.arange(90) % 3, 3)
    rule = UnknownRule(
        value="known", condition=Condition(value="snr_db", edges=(-5.0, 8.0)), thresholds=(-3.0, -2.0, -1.5)
    )
    description = NetworkDescription(
        network=config, modulations=MODULATIONS, unknown=rule, training={}, measured={"accuracy": 0.5}
    )
    return TrainedNetwork(description, network, familiarity)
