"""The radio demonstration: its signals are what they are called, and its table says what the service answered."""

import math
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from matchka.cli.demo.demonstration import run_demonstration
from matchka.cli.demo.radio_demo import SAMPLES_PER_SYMBOL, SIGNALS, as_cf32, noisy
from matchka.modalities.iq.reader import IqOptions, IqReader
from matchka.modalities.iq.spec import IqInputSpec
from tests.factories.radio_bundle import INPUT, OUTPUTS, slow_probabilities, write_radio_bundle
from tests.factories.recordings import WINDOW
from tests.factories.small_server import SmallServer, serving, small_settings


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallServer]:
    folder = tmp_path_factory.mktemp("demo")
    rule = {"value": "known", "thresholds": [-1e9]}
    write_radio_bundle(folder / "models" / "radio", class_=OUTPUTS["class"] | {"unknown": rule})
    with serving(small_settings(folder)) as running:
        yield running


@pytest.mark.parametrize(("name", "order"), [("BPSK", 2), ("QPSK", 4), ("8PSK", 8)])
def test_signal_of_phases_raised_to_their_number_is_a_carrier_and_not_before(name: str, order: int):
    signal = np.array(SIGNALS[name](random.Random(1)))
    symbols = signal[::SAMPLES_PER_SYMBOL] / np.sqrt(np.mean(np.abs(signal[::SAMPLES_PER_SYMBOL]) ** 2))
    powers = {power: abs(np.mean((symbols / np.abs(symbols)) ** power)) for power in (1, 2, 4, 8)}
    assert powers[order] > 0.45
    assert all(powers[power] < 0.2 for power in powers if power < order)


def test_signal_of_two_tones_has_one_amplitude_and_turns_by_a_quarter_each_symbol():
    signal = np.array(SIGNALS["CPFSK"](random.Random(1)))
    np.testing.assert_allclose(np.abs(signal), 1)
    turns = np.angle(signal[SAMPLES_PER_SYMBOL::SAMPLES_PER_SYMBOL] / signal[:-SAMPLES_PER_SYMBOL:SAMPLES_PER_SYMBOL])
    np.testing.assert_allclose(np.abs(turns), math.pi / 2, atol=math.pi / SAMPLES_PER_SYMBOL)
    assert {turn > 0 for turn in turns} == {True, False}


def test_noise_is_as_far_below_the_signal_as_was_asked():
    rng = random.Random(2)
    signal = SIGNALS["QPSK"](rng)
    added = np.array(noisy(signal, 6.0, rng)) - np.array(signal)
    assert 10 * np.log10(np.mean(np.abs(signal) ** 2) / np.mean(np.abs(added) ** 2)) == pytest.approx(6.0, abs=0.2)


def test_samples_as_cf32_are_read_back_by_the_service_at_half_of_full_scale():
    signal = noisy(SIGNALS["BPSK"](random.Random(3)), 10.0, random.Random(4))
    (seen,) = IqReader(IqInputSpec(window_samples=128, hop_samples=128, max_windows=99)).read(
        as_cf32(signal), IqOptions("cf32")
    )
    first = np.array(signal[:128])
    expected = first / np.sqrt(np.mean(np.abs(first) ** 2))
    np.testing.assert_allclose(seen.rows[0], [expected.real, expected.imag], atol=1e-5)


def test_demonstration_prints_each_signal_with_the_most_probable_class(server: SmallServer, tmp_path: Path):
    with (tmp_path / "out").open("w") as file:
        assert run_demonstration(server.client(), tmp_path, Console(width=160, file=file))
    printed = (tmp_path / "out").read_text()
    assert all(name in printed for name in (*SIGNALS, "noise alone"))
    rng = random.Random("1 QPSK")
    sent = np.frombuffer(as_cf32(noisy(SIGNALS["QPSK"](rng), 15.0, rng)), "<c8").reshape(-1, WINDOW)
    chosen = sent[:: len(sent) // INPUT["max_windows"]]  # the windows that the bundle takes of so long a recording
    expected = slow_probabilities(chosen.reshape(-1))
    best = max(expected, key=lambda label: expected[label])
    (row,) = (line for line in printed.splitlines() if line.startswith("│ QPSK"))
    assert row.split("│")[2].startswith(f" {best} ({best} {expected[best]:.2f}, ")
