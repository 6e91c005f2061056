"""Losses, mixing and batches of a radio network's training beside slow loops, and a training that learns."""

from pathlib import Path

import numpy as np
import pytest
import torch

from matchka_train.backbones.iq.network import Predictions
from matchka_train.datasets.generator.recordings import Draw
from matchka_train.errors import DivergedError, RecipeError
from matchka_train.fitting.network.accuracy import NetworkAccuracy, measure_network
from matchka_train.fitting.network.finish import finish_network
from matchka_train.fitting.network.floor import measure_floor
from matchka_train.fitting.network.losses import classification_loss, denoising_error, mixed_classification_loss
from matchka_train.fitting.network.recipe import NetworkRecipe
from matchka_train.fitting.network.training import train_network
from matchka_train.fitting.network.windows import batches_of, draw_windows, mix
from matchka_train.run.recipe import check_recipe, read_content

MODULATIONS = ("BPSK", "WBFM")


def test_draw_windows_when_drawn_have_unit_power_and_the_signal_that_is_in_them():
    windows = draw_windows(MODULATIONS, 80, Draw(0, "train"))
    power = (windows.rows.numpy() ** 2).sum(axis=1).mean(axis=1)
    np.testing.assert_allclose(power, 1, rtol=1e-4)
    clear = windows.snr_db.numpy() >= 16
    error = ((windows.rows - windows.clean).numpy()[clear] ** 2).sum(axis=1).mean(axis=1)
    assert error.max() < 10**-1.4  # the noise that is left at 16 dB and above


def test_denoising_error_when_looped_is_the_error_in_clean_power():
    rng = np.random.default_rng(0)
    denoised, clean = rng.standard_normal((2, 3, 2, 5))
    expected = [
        sum((denoised[n, p, t] - clean[n, p, t]) ** 2 for p in range(2) for t in range(5))
        / sum(clean[n, p, t] ** 2 for p in range(2) for t in range(5))
        for n in range(3)
    ]
    np.testing.assert_allclose(denoising_error(torch.tensor(denoised), torch.tensor(clean)), expected)
    silence = torch.zeros(3, 2, 5, dtype=torch.float64)
    np.testing.assert_allclose(denoising_error(silence, torch.tensor(clean)), 1)


def test_mix_when_a_lowest_snr_is_given_leaves_windows_below_as_they_are():
    windows = draw_windows(MODULATIONS, 80, Draw(1, "train"))
    mixed = mix(windows, 1.0, 6.0, np.random.default_rng(3))
    low = windows.snr_db < 6
    torch.testing.assert_close(mixed.windows.rows[low], windows.rows[low], rtol=1e-4, atol=1e-5)
    for place in torch.nonzero(~low)[:, 0].tolist():
        plain = mixed.share * windows.rows[place] + (1 - mixed.share) * mixed.second.rows[place]
        power = float((plain**2).sum(dim=0).mean())
        np.testing.assert_allclose(mixed.windows.rows[place], plain / power**0.5, rtol=1e-4, atol=1e-5)
    assert (mixed.second.snr_db[~low] >= 6).all()


def test_mixed_classification_loss_when_looped_weighs_both_labels_by_their_shares():
    windows = draw_windows(MODULATIONS, 20, Draw(1, "train"))
    mixed = mix(windows, 1.0, -20.0, np.random.default_rng(0))
    logits, waveforms = torch.randn(20, 2), torch.randn(20, 16)
    none = torch.zeros(20, 1)
    found = Predictions(none, logits, none, none, none, None)

    def entropy(values: torch.Tensor, label: int) -> float:
        return float(values.exp().sum().log() - values[label])

    expected = 0.0
    for row in range(20):
        for share, labels in ((mixed.share, mixed.windows), (1 - mixed.share, mixed.second)):
            own = entropy(logits[row], int(labels.classes[row]))
            expected += share * (own + 0.3 * entropy(waveforms[row], int(labels.waveforms[row]))) / 20
    assert float(mixed_classification_loss(found, waveforms, mixed, 0.3)) == pytest.approx(expected, rel=1e-4)
    assert float(classification_loss(found, waveforms, windows, 0.0)) == pytest.approx(
        np.mean([entropy(logits[row], int(windows.classes[row])) for row in range(20)]), rel=1e-4
    )


def test_batches_of_when_balanced_have_every_snr_equally_often():
    windows = draw_windows(MODULATIONS, 160, Draw(2, "train"))
    for batch in batches_of(windows, 40, True, np.random.default_rng(0)):
        _, counts = np.unique(batch.snr_db.numpy(), return_counts=True)
        assert counts.tolist() == [2] * 20


def test_network_accuracy_when_counted_by_hand_is_the_same():
    counts = [[[8, 2], [5, 5]], [[9, 1], [0, 10]]]
    found = NetworkAccuracy(("QAM16", "QAM64"), (-6.0, 10.0), counts, [2.0, 1.0], [])
    assert found.accuracy("all") == pytest.approx(32 / 40)
    assert found.accuracy(">= 10") == pytest.approx(19 / 20)
    assert found.accuracy_merged("all") == 1
    assert found.accuracy_by_snr() == pytest.approx([13 / 20, 19 / 20])
    assert found.snr_error(-10, 14) == 1.5


def test_floor_when_modulations_differ_in_amplitude_and_frequency_tells_them_apart():
    drawn = [draw_windows(MODULATIONS, 600, Draw(seed, "train")) for seed in (0, 1)]
    found = measure_floor(MODULATIONS, *drawn)
    assert found.accuracy(">= 10") > 0.95
    assert found.accuracy("all") < found.accuracy(">= 10")
    assert (found.snr_error_db, found.denoising_error_db) == ([], [])


def test_network_recipe_when_a_modulation_is_unknown_names_it(tmp_path):
    with pytest.raises(ValueError, match="MORSE"):
        NetworkRecipe(modulations=("BPSK", "MORSE"))
    (tmp_path / "network.yaml").write_text("epochs: 2\n", encoding="utf-8")
    assert read(tmp_path / "network.yaml", "network.film=false").network.film is False
    with pytest.raises(RecipeError, match="epoch"):
        read(tmp_path / "network.yaml", "epoch=3")
    with pytest.raises(RecipeError, match="cannot be read"):
        read(tmp_path / "absent.yaml")


@pytest.mark.slow
def test_train_network_when_two_modulations_differ_learns_them_and_writes_what_it_found():
    recipe = NetworkRecipe.model_validate(
        {
            "modulations": MODULATIONS,
            "network": {"channels": 8, "recurrent": 8, "features": 16, "denoiser": True},
            "mixup": {"classifier_only": True},
            "loss": {"preserved": 0.1},
            "epochs": 4,
            "windows_per_epoch": 2560,
            "validation_windows": 800,
            "batch": 64,
        }
    )
    losses: list[float] = []
    network = train_network(recipe, lambda _epoch, loss: losses.append(loss))
    assert losses[-1] < losses[0]
    found = measure_network(network, MODULATIONS, draw_windows(MODULATIONS, 800, Draw(9, "test")))
    assert found.accuracy(">= 10") > 0.9
    trained = finish_network(recipe, network)
    assert trained.description.measured["accuracy"][">= 10"] > 0.9
    assert set(trained.description.measured["unknown_auroc"]) > {"OFDM", "noise", "QPSK"}
    told = trained.description.measured["unknown_auroc"]
    assert trained.description.measured["not_separable"] == [name for name in told if told[name] < 0.8]
    rule = trained.description.unknown
    assert rule.condition is not None
    assert rule.condition.edges == tuple(
        sorted({rule.condition.edges[0]} | {e for e in (-5, 8) if e > rule.condition.edges[0]})
    )
    assert rule.thresholds[0] == 0 > max(rule.thresholds[1:], default=-1)  # below the first edge nothing is known
    assert trained.description.measured["unknown_noise"] >= 0.9
    assert trained.description.measured["unknown_by_snr"]["18"] < 0.2


@pytest.mark.slow
def test_train_network_when_the_rate_is_absurd_says_that_it_diverged():
    recipe = NetworkRecipe.model_validate(
        {
            "modulations": MODULATIONS,
            "network": {"channels": 4, "recurrent": 4, "features": 8},
            "windows_per_epoch": 256,
            "batch": 64,
            "epochs": 3,
            "learning_rate": 1e30,
            "gradient_norm": 1e30,
        }
    )
    with pytest.raises(DivergedError):
        train_network(recipe, lambda _epoch, _loss: None)


def read(path: Path, *overrides: str) -> NetworkRecipe:
    return check_recipe(path, read_content(path, overrides), NetworkRecipe)
