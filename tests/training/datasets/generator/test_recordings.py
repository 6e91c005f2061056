"""Made recordings: seeds that never meet, SNRs that are what they say, pulses and points as theory has them."""

import numpy as np
import pytest

from matchka_train.datasets.generator.channel import HISTORY, ChannelRange, through_channel, with_noise
from matchka_train.datasets.generator.files import CONTENT_NAME, make_recordings
from matchka_train.datasets.generator.modulations import MODULATIONS, Linear
from matchka_train.datasets.generator.pulses import OFFSETS, SPAN, gaussian_phase, root_raised_cosine
from matchka_train.datasets.generator.recipe import GeneratorRecipe
from matchka_train.datasets.generator.recordings import SPLITS, Draw, draw_evenly, draw_recordings
from matchka_train.datasets.generator.waveforms import BETWEEN, HELD_OUT, STRANGE_WAVEFORMS, WAVEFORMS
from matchka_train.datasets.reader import read_dataset
from matchka_train.datasets.recipe import DatasetRecipe


def test_draws_of_two_splits_when_all_numbers_are_the_same_share_nothing():
    first = {}
    for split in SPLITS:
        for number in range(3):
            for purpose, rng in Draw(5, split, number).generators().items():
                first[split, number, purpose] = tuple(rng.integers(2**63, size=4))
    assert len(set(first.values())) == len(first)


def test_draw_when_repeated_gives_the_same_recordings():
    one, other = (draw_evenly(WAVEFORMS, 44, (0, 10), Draw(1, "train", 2)) for _ in range(2))
    np.testing.assert_array_equal(one.noisy, other.noisy)


@pytest.mark.parametrize("snr_db", [-20.0, -3.0, 18.0])
def test_with_noise_when_the_clean_part_is_taken_off_has_the_snr_it_states(snr_db: float):
    drawn = draw_recordings(
        WAVEFORMS, np.arange(0, 88, 4), np.full(22, snr_db, np.float32), Draw(2, "test"), windows=40
    )
    noise = (drawn.noisy - drawn.clean).astype(np.complex128)
    found = 10 * np.log10(np.mean(np.abs(drawn.clean) ** 2, axis=1) / np.mean(np.abs(noise) ** 2, axis=1))
    np.testing.assert_allclose(found, snr_db, atol=0.35)  # 5,120 samples: four standard errors
    real, imaginary = np.var(noise.real), np.var(noise.imag)
    assert real == pytest.approx(imaginary, rel=0.03)
    spectrum = np.mean(np.abs(np.fft.fft(noise, axis=1)) ** 2, axis=0)
    quarters = [part.mean() for part in np.split(spectrum, 4)]
    np.testing.assert_allclose(quarters, np.mean(quarters), rtol=0.05)  # white


def test_draw_evenly_when_counted_has_every_modulation_at_every_snr_equally_often():
    drawn = draw_evenly(WAVEFORMS, 11 * 3 * 4, (-4, 0, 8), Draw(3, "train"))
    names = [WAVEFORMS[number].modulation for number in drawn.waveforms]
    cells = {(name, snr) for name, snr in zip(names, drawn.snr_db.tolist(), strict=True)}
    counts = [sum(cell == pair for pair in zip(names, drawn.snr_db.tolist(), strict=True)) for cell in cells]
    assert len(cells) == 33
    assert set(counts) == {4}


def test_sum_at_when_looped_over_all_symbols_is_the_sum_of_pulses():
    rng = np.random.default_rng(0)
    symbols = rng.standard_normal((2, 20)) + 1j * rng.standard_normal((2, 20))
    times = SPAN + np.sort(rng.uniform(0, 8, (2, 15)), axis=1)
    roll_off = 0.5

    def pulse(t: float) -> float:  # Proakis' formula in the plain, without its two limits
        top = np.sin(np.pi * t * (1 - roll_off)) + 4 * roll_off * t * np.cos(np.pi * t * (1 + roll_off))
        return top / (np.pi * t * (1 - (4 * roll_off * t) ** 2))

    expected = np.zeros((2, 15), complex)
    for row in range(2):
        for place, time in enumerate(times[row]):
            step = (int((time % 1) * 128) + 0.5) / 128  # the table's moment
            for k in range(20):
                offset = int(time) + step - k
                if -SPAN <= k - int(time) <= SPAN:
                    expected[row, place] += symbols[row, k] * pulse(offset)
    np.testing.assert_allclose(root_raised_cosine(roll_off).sum_at(symbols, times), expected, atol=1e-5)


def test_root_raised_cosine_when_matched_has_no_intersymbol_interference():
    times = np.arange(-SPAN * 16, SPAN * 16 + 1) / 16.0
    pulse = root_raised_cosine(0.5).sum_at(np.eye(1, 4 * SPAN + 1, 2 * SPAN), times[None] + 2 * SPAN)[0]
    matched = np.convolve(pulse, pulse[::-1]) / 16
    at_symbols = matched[len(pulse) - 1 :: 16][: SPAN + 1]
    assert at_symbols[0] == pytest.approx(1, abs=0.01)
    np.testing.assert_allclose(at_symbols[1:], 0, atol=0.02)


@pytest.mark.parametrize(
    ("name", "points", "fourth"),
    # |E x^4| and the number of points as textbooks have them (Swami and Sadler 2000, table 1, of unit power)
    [
        ("BPSK", 2, 1.0),
        ("QPSK", 4, 1.0),
        ("8PSK", 8, 0.0),
        ("QAM16", 16, 0.68),
        ("QAM64", 64, 0.619),
        ("PAM4", 4, 1.64),
    ],
)
def test_constellations_beside_theory(name: str, points: int, fourth: float):
    modulation = MODULATIONS[name]
    assert isinstance(modulation, Linear)
    values = modulation.points.astype(np.complex128)
    assert len(np.unique(np.round(values, 4))) == points
    assert np.mean(np.abs(values) ** 2) == pytest.approx(1, abs=1e-6)
    assert abs(np.mean(values**4)) == pytest.approx(fourth, abs=2e-3)


def test_gaussian_phase_when_no_gaussian_is_a_straight_line_over_one_symbol():
    table = gaussian_phase(None).values
    at = {int(offset): table[:, place] for place, offset in enumerate(OFFSETS)}
    steps = (np.arange(128) + 0.5) / 128
    np.testing.assert_allclose(at[0], np.minimum(steps + 0.5, 1) - 1, atol=1e-6)
    np.testing.assert_allclose(at[1], np.maximum(steps - 0.5, 0), atol=1e-6)
    assert not at[2].any()
    assert not at[-1].any()


def test_gfsk_and_cpfsk_when_sent_have_constant_envelopes_and_their_frequencies():
    rng = np.random.default_rng(1)
    times = np.tile(np.arange(4000.0), (3, 1))
    for name, shape, index in (("GFSK", 0.35, 0.3), ("CPFSK", 0.7, 0.7)):
        sent = MODULATIONS[name].envelope(times, 8, shape, rng)
        np.testing.assert_allclose(np.abs(sent), 1, atol=1e-4)
        frequency = np.angle(sent[:, 1:] * sent[:, :-1].conj()) / (2 * np.pi)
        assert np.abs(frequency).max() == pytest.approx(index / 2 / 8, rel=0.05)


def test_channel_when_there_is_one_path_keeps_the_signal_up_to_gain_and_turn():
    rng = np.random.default_rng(2)
    tone = np.exp(2j * np.pi * 0.05 * np.arange(256 + HISTORY))[None].repeat(50, axis=0).astype(np.complex64)
    received = through_channel(tone, ChannelRange(carrier_offset=0, doppler=0), rng)
    ratio = received / tone[:, HISTORY:]  # of a tone, any paths are one gain
    np.testing.assert_allclose(ratio, ratio[:, :1].repeat(256, axis=1), atol=2e-3)
    assert np.mean(np.abs(ratio) ** 2) == pytest.approx(1.4, abs=0.5)  # first path 1, the later ones less


def test_with_noise_when_rows_differ_in_power_scales_to_each():
    clean = np.array([[1.0], [10.0]]) * np.ones((2, 20_000), np.complex64)
    noisy = with_noise(clean.astype(np.complex64), np.array([0.0, 0.0]), np.random.default_rng(0))
    np.testing.assert_allclose(np.mean(np.abs(noisy - clean) ** 2, axis=1), [1, 100], rtol=0.05)


def test_strangers_when_drawn_are_finite_and_of_no_known_modulation():
    drawn = draw_evenly(STRANGE_WAVEFORMS, 40, (10,), Draw(1, "test"), windows=2)
    assert np.isfinite(drawn.noisy).all()
    assert not {waveform.modulation for waveform in STRANGE_WAVEFORMS} & set(MODULATIONS)


def test_waveforms_when_listed_are_trained_on_chosen_by_or_held_out_and_never_two_of_these():
    names = [waveform.name for waveform in (*WAVEFORMS, *BETWEEN, *HELD_OUT)]
    assert len(set(names)) == len(names) == 88 + 66 + 66


def test_make_recordings_when_run_again_keeps_the_files_and_reads_as_a_data_set(tmp_path):
    recipe = GeneratorRecipe(split="validation", waveforms="between", recordings_each=2, snrs_db=(0, 10), windows=1)
    listed = make_recordings(tmp_path / "a", recipe)
    before = {path: path.stat().st_mtime_ns for path, _ in listed}
    assert make_recordings(tmp_path / "a", recipe) == listed
    assert {path: path.stat().st_mtime_ns for path, _ in listed} == before
    samples = np.load(listed[0][0], allow_pickle=False)
    assert samples.dtype == np.complex64
    assert np.mean(np.abs(samples) ** 2) == pytest.approx(0.01, rel=1e-4)
    dataset = DatasetRecipe(corpus="w", domain="d", layout="generator", path=tmp_path / "b", generator=recipe)
    assert len(read_dataset(dataset)) == 2 * len(BETWEEN)
    assert (tmp_path / "b" / CONTENT_NAME).is_file()


def test_dataset_recipe_when_layout_and_generator_disagree_is_refused(tmp_path):
    with pytest.raises(ValueError, match="belong together"):
        DatasetRecipe(corpus="w", domain="d", layout="generator", path=tmp_path)
