"""The shipped radio network: what its file says of it is found again on recordings that nothing has seen."""

from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from matchka.modalities.iq.windows import unit_power
from matchka_export.defaults.assemble import assemble
from matchka_export.defaults.catalogue import DEFAULT_MODELS, RADIO_NETWORK
from matchka_export.defaults.shipped import current_bundle
from matchka_train.backbones.iq.file import read_network
from matchka_train.backbones.served_graph import serve_bundle
from matchka_train.datasets.generator.recordings import Draw, draw_evenly
from matchka_train.datasets.generator.waveforms import WAVEFORMS
from matchka_train.fitting.network.accuracy import measure_network
from matchka_train.fitting.network.windows import draw_windows

LARGEST_FILE = 1_000_000


def test_shipped_network_when_measured_on_new_windows_reaches_what_its_file_says():
    trained = read_network(RADIO_NETWORK)
    assert RADIO_NETWORK.stat().st_size < LARGEST_FILE
    windows = draw_windows(trained.description.modulations, 2200, Draw(77, "hidden"))
    found = measure_network(trained.network, trained.description.modulations, windows)
    stated = trained.description.measured["accuracy"]
    for band, rate in stated.items():
        assert found.accuracy(band) == pytest.approx(rate, abs=0.06)  # 550 windows: three standard errors
    assert found.snr_error(-10, 14) < 1.6


def test_shipped_rule_when_nothing_is_sent_calls_it_unknown_and_most_of_what_is_known_not():
    trained = read_network(RADIO_NETWORK)
    rule, rng = trained.description.unknown, np.random.default_rng(8)
    noise = rng.standard_normal((50, 8 * 128)) + 1j * rng.standard_normal((50, 8 * 128))
    sent = draw_evenly(WAVEFORMS, 220, (-6, 0, 6, 12), Draw(79, "hidden"), windows=8).noisy
    shares = []
    for samples in (noise.astype(np.complex64), sent):
        with torch.inference_mode():
            found = trained.network(torch.from_numpy(unit_power(samples.reshape(-1, 128))))
            known = trained.familiarity(found.features).reshape(-1, 8).mean(dim=1)
        snr_db = found.snr_db.reshape(-1, 8).mean(dim=1)
        assert rule.condition is not None
        thresholds = [rule.thresholds[rule.condition.band_of(float(value))] for value in snr_db]
        shares.append(float((known < torch.tensor(thresholds)).float().mean()))
    assert shares[0] == 1
    assert shares[1] < 0.15


@pytest.mark.slow
def test_radio_bundle_when_assembled_classifies_recordings_and_estimates_their_snr(tmp_path: Path):
    backbone = DEFAULT_MODELS["radio"].open_backbone(tmp_path)
    files = DEFAULT_MODELS["radio"].fitted, DEFAULT_MODELS["radio"].evidence
    bundle = assemble(tmp_path / "radio", backbone, *files, tmp_path, tmp_path / "none", Console(quiet=True))
    assert current_bundle(tmp_path / "radio", "radio") is not None
    assert set(bundle.manifest.outputs) == {"embeddings", "class", "snr_db", "known"}
    session = serve_bundle(bundle).session
    drawn = draw_evenly(WAVEFORMS, 220, (14,), Draw(78, "hidden"), windows=8)
    found = session.run(unit_power(drawn.noisy.reshape(-1, 128)))
    labels = read_network(RADIO_NETWORK).description.modulations
    chosen = found["class"].reshape(220, 8, -1).mean(axis=1).argmax(axis=1)
    right = [
        WAVEFORMS[number].modulation == labels[place] for number, place in zip(drawn.waveforms, chosen, strict=True)
    ]
    assert np.mean(right) > 0.85
    assert abs(float(found["snr_db"].mean()) - 14) < 2
    assert torch.isfinite(torch.from_numpy(found["known"])).all()
