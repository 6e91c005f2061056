"""The shipped radio network: what its file says of it is found again on recordings that nothing has seen."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from matchka.bundles.bundle import read_bundle
from matchka.bundles.outputs.embedding import EmbeddingOutput
from matchka.modalities.iq.windows import unit_power
from matchka_export.defaults.assemble import assemble
from matchka_export.defaults.catalogue import DEFAULT_MODELS, RADIO_NETWORK
from matchka_export.defaults.shipped import current_bundle
from matchka_train.backbones.iq.file import read_network
from matchka_train.backbones.served_graph import serve_bundle
from matchka_train.datasets.generator.channel import ChannelRange
from matchka_train.datasets.generator.recordings import Draw, draw_evenly, draw_recordings
from matchka_train.datasets.generator.waveforms import ANALOGUE, HELD_OUT, SHAPES, WAVEFORMS, Waveform
from matchka_train.fitting.network.accuracy import measure_network
from matchka_train.fitting.network.windows import draw_windows
from tests.factories.checkout import ROOT

LARGEST_FILE = 1_000_000
PAGE = ROOT / "docs" / "radio.md"


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


def stated_shares(table: str) -> dict[float, tuple[float, float]]:
    """What the page says by a table's first row: shares of right labels and of unknown, by its numbers."""
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(f"| {table} |"))
    rows = [[float(cell) for cell in lines[start + row].strip("|").split("|")[1:]] for row in (0, 2, 3)]
    return {value: (right / 100, unknown / 100) for value, right, unknown in zip(*rows, strict=True)}


@pytest.mark.parametrize(
    ("table", "value"),
    [("samples a symbol", value) for value in (4, 8, 16, 32)]
    + [("off the middle, % of the sample rate", value) for value in (0.25, 1, 4)],
)
def test_shipped_network_beyond_its_rates_and_offsets_is_as_often_wrong_as_the_page_says(table: str, value: float):
    trained, is_rate = read_network(RADIO_NETWORK), table == "samples a symbol"
    choices = [
        Waveform(name, value if is_rate else 8, shape)
        for name, shapes in SHAPES.items()
        if name not in ANALOGUE
        for shape in shapes
    ]
    sent = np.repeat(np.arange(len(choices)), 10)
    limits = ChannelRange() if is_rate else ChannelRange(carrier_offset=0)
    noisy = draw_recordings(choices, sent, np.full(len(sent), 15), Draw(81, "hidden"), 8, limits).noisy
    turned = noisy * np.exp(2j * np.pi * (0 if is_rate else value / 100) * np.arange(noisy.shape[1]))
    with torch.inference_mode():
        found = trained.network(torch.from_numpy(unit_power(turned.astype(np.complex64).reshape(-1, 128))))
        known = trained.familiarity(found.features).reshape(-1, 8).mean(dim=1).numpy()
    rule, snr_db = trained.description.unknown, found.snr_db.reshape(-1, 8).mean(dim=1)
    assert rule.condition is not None
    is_known = known >= [rule.thresholds[rule.condition.band_of(float(one))] for one in snr_db]
    best = torch.log_softmax(found.logits, dim=1).reshape(len(sent), 8, -1).mean(dim=1).argmax(dim=1)
    labels = [trained.description.modulations[place] for place in best]
    right = is_known & [choices[place].modulation == label for place, label in zip(sent, labels, strict=True)]
    assert (right.mean(), 1 - is_known.mean()) == pytest.approx(stated_shares(table)[value], abs=0.12)


def cells_of(row: str) -> list[str]:
    """The cells of the page's table row of this name."""
    (line,) = (line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith(f"| {row}"))
    return [cell.strip() for cell in line.strip("|").split("|")[1:]]


def test_error_rates_of_waveforms_on_the_page_are_those_of_the_evidence():
    per_dim = json.loads(DEFAULT_MODELS["radio"].evidence.read_text(encoding="utf-8"))["per_dim"]
    for domain, cell in zip(("snr-high", "snr-middle", "snr-low"), cells_of("EER %, dim 8 / 16 / 32"), strict=True):
        rates = [100 * per_dim[dim]["metrics"][domain]["eer"] for dim in ("8", "16", "32")]
        assert [float(rate) for rate in cell.split("/")] == pytest.approx(rates, abs=0.5 if rates[0] > 10 else 0.06)


@pytest.mark.parametrize(("max_fmr", "row"), [(1e-3, "accepted as themselves, %"), (1e-2, "`max_fmr` 0.01")])
def test_waveforms_are_accepted_as_often_as_the_page_says(models_dir: Path, max_fmr: float, row: str):
    bundle = read_bundle(models_dir / "radio")
    output = bundle.manifest.output(EmbeddingOutput)
    sent = np.repeat(np.arange(len(HELD_OUT)), 3)
    snrs_db = np.resize([10, 14, 18, 12, 16], len(sent))
    noisy = draw_recordings(HELD_OUT, sent, snrs_db, Draw(82, "hidden"), windows=32).noisy
    found = serve_bundle(bundle).session.run(unit_power(noisy.reshape(-1, 128)))
    means = found["embeddings"].reshape(len(sent), 32, -1).mean(axis=1)
    unit = means / np.linalg.norm(means, axis=1, keepdims=True)
    snr_db = found["snr_db"].reshape(len(sent), 32).mean(axis=1)
    accepted = []
    for first in range(0, len(sent), 3):
        for probe in (first + 1, first + 2):
            (report,) = output.reports_for(output.full_dim, (float(snr_db[first]), float(snr_db[probe])))
            point = next(one for one in report.operating_points["1"] if one.fmr == pytest.approx(max_fmr))
            accepted.append(unit[first] @ unit[probe] >= point.threshold)
    stated = float(cells_of(row)[0].split("/")[1]) / 100
    assert np.mean(accepted) == pytest.approx(stated, abs=0.13)  # of 132, those of one waveform alike


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
