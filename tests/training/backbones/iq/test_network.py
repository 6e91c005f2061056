"""The radio network's formulas beside slow loops, and its file."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from matchka.bundles.outputs.classes import UnknownRule
from matchka.bundles.outputs.condition import Condition
from matchka_train.backbones.backbone import HeadedBackbone, condition_of, heads_of, measured_heads
from matchka_train.backbones.iq.backbone import RadioBackbone
from matchka_train.backbones.iq.config import NetworkConfig
from matchka_train.backbones.iq.familiarity import fit_familiarity
from matchka_train.backbones.iq.file import NetworkDescription, TrainedNetwork, read_network, write_network
from matchka_train.backbones.iq.network import Film, RadioNetwork, expert_features
from matchka_train.backbones.iq.recipe import RadioNetworkRecipe
from matchka_train.backbones.iq.spectra import Spectra
from matchka_train.errors import WeightsAbsentError, WeightsError
from tests.factories.radio import tiny_network


def test_film_when_looped_scales_and_shifts_each_channel_by_what_it_predicts():
    torch.manual_seed(0)
    film, x, noise = Film(3), torch.randn(2, 3, 4), torch.rand(2, 1)
    torch.nn.init.normal_(film.predict[2].weight)
    predicted = film.predict(noise).detach().numpy()
    expected = np.zeros((2, 3, 4))
    for row, channel, time in itertools.product(range(2), range(3), range(4)):
        expected[row, channel, time] = (
            x[row, channel, time] * (1 + predicted[row, channel]) + predicted[row, 3 + channel]
        )
    np.testing.assert_allclose(film(x, noise).detach().numpy(), expected, rtol=1e-5, atol=1e-6)


def test_film_when_new_changes_nothing():
    x = torch.randn(2, 5, 6)
    torch.testing.assert_close(Film(5)(x, torch.rand(2, 1)), x)


def test_expert_features_when_looped_are_the_cumulants():
    rng = np.random.default_rng(0)
    samples = rng.standard_normal((3, 128)) + 1j * rng.standard_normal((3, 128)) + 0.7
    samples /= np.sqrt(np.mean(np.abs(samples) ** 2, axis=1, keepdims=True))
    rows = torch.tensor(np.stack([samples.real, samples.imag], axis=1), dtype=torch.float32)
    for x, found in zip(samples, expert_features(rows).numpy(), strict=True):
        m = {
            (p, q): np.mean(x ** (p - q) * np.conj(x) ** q) for p, q in ((2, 0), (4, 0), (4, 1), (4, 2), (6, 0), (6, 3))
        }
        c40, c41 = m[4, 0] - 3 * m[2, 0] ** 2, m[4, 1] - 3 * m[2, 0]
        c42 = m[4, 2] - abs(m[2, 0]) ** 2 - 2
        c60 = m[6, 0] - 15 * m[2, 0] * m[4, 0] + 30 * m[2, 0] ** 3
        c63 = m[6, 3] - 9 * m[4, 2] + 12 + 18 * abs(m[2, 0]) ** 2 - 6 * np.real(m[2, 0] * np.conj(m[4, 1]))
        root = [np.sign(v.real) * abs(v.real) ** (1 / n) for v, n in ((c42, 2), (c63, 3))]
        expected = [abs(m[2, 0]), abs(c40) ** 0.5, abs(c41) ** 0.5, root[0], abs(c60) ** (1 / 3), root[1]]
        np.testing.assert_allclose(found, expected, rtol=2e-2, atol=2e-3)


def test_fit_familiarity_when_computed_slowly_is_the_mahalanobis_distance_to_the_nearest_class():
    rng = np.random.default_rng(1)
    classes = np.repeat([0, 1], 200)
    rows = rng.standard_normal((400, 4)) @ rng.standard_normal((4, 4)) + 5 * classes[:, None]
    fitted = fit_familiarity(torch.tensor(rows), torch.tensor(classes), 2, shrinkage=0.0)
    means = [rows[classes == number].mean(axis=0) for number in (0, 1)]
    centred = rows - np.array(means)[classes]
    inverse = np.linalg.inv(centred.T @ centred / 400)
    probe = rng.standard_normal((5, 4)) * 3
    expected = [-min(float((row - mean) @ inverse @ (row - mean)) for mean in means) / 4 for row in probe]
    found = fitted(torch.tensor(probe, dtype=torch.float32))[:, 0].numpy()
    np.testing.assert_allclose(found, expected, rtol=2e-2)


def test_spectra_when_computed_by_another_transform_are_those_of_the_window_and_of_its_filtered_powers():
    torch.manual_seed(0)
    spectra = Spectra(2, 128).eval()
    rows = torch.randn(3, 2, 128)
    taps = spectra.filters.weight.detach().numpy()[:, 0].astype(np.float64)
    expected = []
    for x in rows[:, 0].double().numpy() + 1j * rows[:, 1].double().numpy():
        filtered = [np.convolve(np.pad(x, 5), one, "valid") for one in taps]  # both are symmetrical
        magnitudes = [np.abs(one) ** 2 for one in filtered]
        parts = [x, *(one**2 for one in filtered), *(one**4 for one in filtered)]
        parts += [one - one.mean() for one in magnitudes]
        powers = [np.abs(np.fft.fft(one)) ** 2 / 128 for one in parts]
        expected.append(np.log1p(np.concatenate([*powers[:5], *(one[1:65] for one in powers[5:])])))
    np.testing.assert_allclose(spectra.spectra(rows).detach().numpy(), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "parts",
    [{}, {"denoiser": True}, {"denoiser": True, "expert": True, "film": False}, {"spectra": 2}],
)
def test_network_when_batched_says_of_each_row_what_it_says_alone(parts: dict[str, Any]):
    torch.manual_seed(0)
    network = RadioNetwork(NetworkConfig(channels=4, recurrent=4, features=8, **parts), 3).eval()
    rows = torch.randn(5, 2, 128)
    with torch.inference_mode():
        together, alone = network(rows), network(rows[2:3])
    for several, one in zip(together, alone, strict=True):
        if one is not None:
            torch.testing.assert_close(several[2:3], one, rtol=1e-4, atol=1e-5)
    assert (together.denoised is not None) == parts.get("denoiser", False)


def test_write_network_when_read_again_computes_the_same(tmp_path: Path):
    trained = tiny_network()
    write_network(tmp_path / "network.safetensors", trained)
    read = read_network(tmp_path / "network.safetensors")
    assert read.description == trained.description
    rows = torch.randn(3, 2, 128)
    with torch.inference_mode():
        torch.testing.assert_close(read.network(rows).logits, trained.network(rows).logits)
        torch.testing.assert_close(
            read.familiarity(read.network(rows).features), trained.familiarity(trained.network(rows).features)
        )


@pytest.mark.parametrize("content", [b"", b"not a network", b"\x02\x00\x00\x00\x00\x00\x00\x00{}"])
def test_read_network_when_it_is_none_refuses(tmp_path: Path, content: bytes):
    (tmp_path / "network.safetensors").write_bytes(content)
    with pytest.raises(WeightsError):
        read_network(tmp_path / "network.safetensors")


def test_read_network_when_its_weights_are_of_another_size_refuses(tmp_path: Path):
    trained = tiny_network()
    other = trained.description.model_copy(update={"network": NetworkConfig(channels=8, recurrent=4, features=8)})
    write_network(tmp_path / "network.safetensors", TrainedNetwork(other, trained.network, trained.familiarity))
    with pytest.raises(WeightsError):
        read_network(tmp_path / "network.safetensors")


def test_radio_backbone_when_opened_by_a_recipe_says_what_its_graph_returns(tmp_path: Path):
    write_network(tmp_path / "network.safetensors", tiny_network())
    backbone = RadioNetworkRecipe(kind="radio_network", path=tmp_path / "network.safetensors").open()
    assert isinstance(backbone, HeadedBackbone)
    assert {name: head.kind for name, head in heads_of(backbone).items()} == {
        "class": "class",
        "snr_db": "value",
        "known": "value",
    }
    assert condition_of(backbone) == Condition(value="snr_db", edges=(-5, 8))
    assert measured_heads(backbone) == {"accuracy": 0.5}
    rows = torch.randn(4, 2, 128)
    with torch.inference_mode():
        unit, classes, snr, known = backbone.headed_module()(rows)
        torch.testing.assert_close(backbone.module()(rows), unit)
    np.testing.assert_allclose(unit.norm(dim=1), 1, atol=1e-5)
    np.testing.assert_allclose(classes.exp().sum(dim=1), 1, atol=1e-5)
    assert snr.shape == known.shape == (4, 1)


def test_radio_network_recipe_when_there_is_no_file_says_how_to_train_one(tmp_path: Path):
    with pytest.raises(WeightsAbsentError, match="matchka-train network"):
        RadioNetworkRecipe(kind="radio_network", path=tmp_path / "absent.safetensors").open()


def test_network_description_when_a_key_is_unknown_is_refused():
    rule = UnknownRule(value="known", thresholds=(-1.0,))
    with pytest.raises(ValueError, match="other"):
        NetworkDescription.model_validate(
            {"network": {}, "modulations": ("a", "b"), "unknown": rule, "training": {}, "measured": {}, "other": 1}
        )
    assert RadioBackbone(Path("x")).input.window_samples == 128
