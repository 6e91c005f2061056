"""Noise has the ratio it states, and rooms neither delay a clip nor change its level."""

import numpy as np
import pytest

from matchka_train.modalities.acoustics.mixing import add_at_snr, pass_room, sum_at_one_level
from tests.factories.sound_corpora import response, tone


def power(samples):
    return sum(float(value) ** 2 for value in samples) / len(samples)


@pytest.mark.parametrize("snr_db", [-5.0, 0.0, 13.7])
def test_add_at_snr_leaves_the_clip_and_adds_the_noise_at_the_ratio(snr_db):
    clip, noise = tone(440, level=0.03), np.random.default_rng(0).standard_normal(4_000).astype(np.float32)
    added = add_at_snr(clip, noise, snr_db).astype(np.float64) - clip
    assert 10 * np.log10(power(clip) / power(added)) == pytest.approx(snr_db, abs=1e-3)
    assert np.corrcoef(added, noise)[0, 1] == pytest.approx(1.0, abs=1e-5)


def test_pass_room_equals_the_sum_of_its_echoes_from_the_direct_path_on():
    clip, room = np.random.default_rng(1).standard_normal(300).astype(np.float32) * 0.1, response(35, 200)
    wet = np.zeros(len(clip))
    for at in range(len(clip)):
        for delay, value in enumerate(room):
            if 0 <= at + 35 - delay < len(clip):
                wet[at] += float(clip[at + 35 - delay]) * float(value)
    wet *= np.sqrt(power(clip) / power(wet))
    assert np.allclose(pass_room(clip, room), wet, atol=1e-6)


@pytest.mark.parametrize("direct", [5, 20, 109])
def test_pass_room_keeps_the_time_and_the_level_of_a_clip(direct):
    click = np.zeros(500, np.float32)
    click[250] = 0.5
    passed = pass_room(click, response(direct, 300))
    assert int(np.argmax(np.abs(passed))) == 250
    assert power(passed) == pytest.approx(power(click), rel=1e-5)


def test_pass_room_of_a_negative_direct_path_and_of_silence_stays_finite():
    assert int(np.argmax(np.abs(pass_room(tone(440), -response(20, 300))))) > 0
    assert np.array_equal(pass_room(np.zeros(50, np.float32), response(20, 300)), np.zeros(50, np.float32))


def test_sum_at_one_level_weighs_loud_and_quiet_alike():
    loud, quiet = tone(500, level=0.9), tone(900, level=0.001)
    expected = loud / np.sqrt(power(loud)) + quiet / np.sqrt(power(quiet))
    assert np.allclose(sum_at_one_level([loud, quiet]), expected, atol=1e-4)
