"""Filters of a setting against digital biquads at a sample rate so high that they are analogue; files and pictures."""

import math
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

from matchka.client.curve_plot import curve_svg
from matchka.client.presets import Filter, as_equalizer_apo, as_sox, filters_of, response_db
from matchka.errors import InvalidFieldError
from tests.factories.biquads import biquad_db
from tests.factories.command_line import run
from tests.factories.parameters import write_parameters_bundle
from tests.factories.small_server import serving, small_settings

SETTING = {"low_shelf_gain_db": 3.0, "low_shelf_hz": 120.0, "peak1_gain_db": -4.5, "peak1_hz": 900.0, "peak1_q": 2.0}
FREQUENCIES = (20.0, 119.0, 450.0, 900.0, 4000.0, 20000.0)


@pytest.mark.parametrize("kind", ["low_shelf", "peak", "high_shelf"])
@pytest.mark.parametrize(("gain_db", "hz", "q"), [(12, 22, 0.71), (-12, 20000, 0.1), (5, 700, 10), (0, 1000, 1)])
def test_filter_has_the_gain_of_the_biquad_that_it_becomes(kind: str, gain_db: float, hz: float, q: float):
    found = [Filter(kind, gain_db, hz, q).response_db(at) for at in FREQUENCIES]  # type: ignore[arg-type]
    assert found == pytest.approx([biquad_db(kind, gain_db, hz, q, at) for at in FREQUENCIES], abs=2e-3)


def test_filters_of_a_setting_follow_from_the_names_of_its_numbers():
    shelf, peak = filters_of(SETTING)
    assert shelf == Filter("low_shelf", 3.0, 120.0, 0.71)
    assert peak == Filter("peak", -4.5, 900.0, 2.0)
    assert filters_of({"high_shelf_gain_db": 1, "high_shelf_hz": 9000})[0].kind == "high_shelf"


@pytest.mark.parametrize(
    ("parameters", "value"),
    [({}, "nothing"), ({"a": 1}, "a"), ({"a_gain_db": 1}, "a_hz"), ({**SETTING, "mix": 1}, "mix")],
)
def test_numbers_that_set_no_filters_are_refused(parameters: dict[str, float], value: str):
    with pytest.raises(InvalidFieldError) as refused:
        filters_of(parameters)
    assert refused.value.value == value


def test_setting_becomes_lines_of_other_programs():
    filters = filters_of(SETTING)
    assert as_equalizer_apo(filters).splitlines() == [
        "Filter 1: ON LSC Fc 120 Hz Gain 3 dB Q 0.71",
        "Filter 2: ON PK Fc 900 Hz Gain -4.5 dB Q 2",
    ]
    assert as_sox(filters) == "bass 3 120 0.71q equalizer 900 2q -4.5"
    assert as_sox([Filter("high_shelf", -1, 5000, 0.71)]) == "treble -1 5000 0.71q"


def test_picture_draws_the_gain_at_every_frequency_and_says_what_it_is():
    root = ET.fromstring(curve_svg(SETTING, "a <b> & c"))
    assert root.get("aria-label") == "a <b> & c"
    (line,) = root.iter("{http://www.w3.org/2000/svg}polyline")
    points = np.array([[float(part) for part in point.split(",")] for point in line.attrib["points"].split()])
    # the axes: 20 Hz to 20 kHz over 48..592, and +6 to -6 dB over 48..272
    hz = 20 * 1000 ** ((points[:, 0] - 48) / 544)
    gains = 6 - (points[:, 1] - 48) / 224 * 12
    assert gains == pytest.approx([response_db(filters_of(SETTING), at) for at in hz], abs=0.05)


def test_commands_print_a_setting_and_draw_it(tmp_path: Path):
    write_parameters_bundle(tmp_path / "models" / "tone", "tone")
    (tmp_path / "a.json").write_text('{"frequency": 100, "gain": 0}')
    (tmp_path / "b.json").write_text('{"frequency": 400, "gain": 6}')
    with serving(small_settings(tmp_path)) as server:
        word = run(server, "generate", "warm", "--strength", 0.5, "--model", "tone")
        way = run(server, "morph", tmp_path / "a.json", tmp_path / "b.json", "--model", "tone")
        refused = run(server, "generate", "airy", "--model", "tone")
        no_filters = run(server, "generate", "warm", "--model", "tone", "--format", "sox")
    assert (word.exit_code, word.stdout.split()) == (0, ["{", '"frequency":', "100.0,", '"gain":', "3.0", "}"])
    assert '"gain": 3.0' in way.stdout
    assert math.isclose(float(way.stdout.split('"frequency": ')[1].split(",")[0]), 200)
    assert (refused.exit_code, no_filters.exit_code) == (2, 2)
