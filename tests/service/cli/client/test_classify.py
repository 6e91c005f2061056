"""`matchka classify`: what is printed, exit codes, formats, and the plot of a recording as text and as a picture."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from matchka.cli.output.constellation import as_text, histogram_of, samples_of, write_png
from matchka.cli.output.errors import FAILED
from matchka.cli.output.report import NO_MATCH
from tests.factories.classifiers import write_classifier
from tests.factories.command_line import run
from tests.factories.radio_bundle import OUTPUTS, slow_probabilities, slow_value, write_radio_bundle
from tests.factories.recordings import cf32, ci16, npy, signal
from tests.factories.samples import sample
from tests.factories.small_server import SmallServer, serving, small_settings

KNOWN, STRANGE = signal(3, offset=0.4j), signal(3, offset=-0.4j)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallServer]:
    """A model that knows recordings with an offset of Q, and one for clips."""
    folder = tmp_path_factory.mktemp("classify")
    rule = {"value": "known", "thresholds": [10.0]}
    write_radio_bundle(folder / "models" / "radio", class_=OUTPUTS["class"] | {"unknown": rule})
    write_classifier(folder / "models" / "sorter", "sorter", embeds=False)
    with serving(small_settings(folder)) as running:
        yield running


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    (tmp_path / "take.cf32").write_bytes(cf32(KNOWN))
    return tmp_path / "take.cf32"


def test_classify_prints_classes_values_and_windows_and_exits_0(server: SmallServer, recording: Path):
    done = run(server, "classify", recording, "--sample-format", "cf32")
    assert done.exit_code == 0, done.output
    expected = slow_probabilities(KNOWN)
    best = max(expected, key=lambda label: expected[label])
    assert done.output.split()[0] == best
    assert f"{expected[best]:.3f}" in done.output
    power = 10 * np.log10(np.mean(np.abs(KNOWN.astype(np.complex128)) ** 2))
    assert f"known {slow_value(KNOWN, 'imag'):.2f}, 4 windows, {power:.1f} dBFS, radio 1.0.0" in done.output


def test_classify_of_a_sample_without_windows_names_none(server: SmallServer, tmp_path: Path):
    (tmp_path / "clip.wav").write_bytes(sample(1))
    done = run(server, "classify", tmp_path / "clip.wav", "--model", "sorter")
    assert done.exit_code == 0, done.output
    assert done.output.splitlines()[-1] == "sorter 1.0.0"


def test_classify_as_json_is_the_services_answer_and_the_clients(server: SmallServer, recording: Path):
    done = run(server, "classify", recording, "--sample-format", "cf32", "--json")
    answer = server.client().classify(recording, sample_format="cf32")
    assert json.loads(done.stdout) == json.loads(answer.model_dump_json())
    assert answer == server.client().classify(npy(KNOWN), "radio")
    assert {one.label: one.probability for one in answer.classes} == pytest.approx(slow_probabilities(KNOWN), abs=1e-5)


def test_classify_of_a_stranger_says_unknown_and_exits_1(server: SmallServer, tmp_path: Path):
    (tmp_path / "strange.npy").write_bytes(npy(STRANGE))
    done = run(server, "classify", tmp_path / "strange.npy")
    assert done.exit_code == NO_MATCH
    assert done.output.split()[0] == "unknown"


def test_classify_of_bare_samples_without_their_format_exits_2_and_says_how(server: SmallServer, tmp_path: Path):
    (tmp_path / "take.iq").write_bytes(cf32(KNOWN))
    done = run(server, "classify", tmp_path / "take.iq")
    assert done.exit_code == FAILED
    assert "--sample-format: cf32, ci16 or cu8" in done.output


def test_commands_take_the_model_and_the_format_of_bare_samples_from_the_name_of_a_file(
    server: SmallServer, recording: Path, tmp_path: Path
):
    integers = tmp_path / "take.CI16"
    integers.write_bytes(ci16(signal(4, offset=0.4j)))
    assert run(server, "classify", recording, "--plot", tmp_path / "a.png").exit_code == 0
    for given in (
        ("enroll", "tag", recording),
        ("verify", "tag", integers),
        ("identify", integers),
        ("compare", recording, recording),
        ("embed", integers),
    ):
        done = run(server, *given, "--json")
        assert done.exit_code in (0, NO_MATCH), done.output
        assert json.loads(done.stdout)["model"] == "radio"
    stated = run(server, "classify", recording, "--sample-format", "ci16")
    assert stated.output != run(server, "classify", recording).output  # what is stated counts


def test_classify_with_a_plot_draws_in_the_terminal_or_into_a_file(
    server: SmallServer, recording: Path, tmp_path: Path
):
    done = run(server, "classify", recording, "--sample-format", "cf32", "--plot", "-")
    text = as_text(histogram_of(KNOWN))
    assert text in done.output
    assert [len(line) for line in text.splitlines()] == [20] * 10
    assert run(server, "classify", recording, "--sample-format", "cf32", "--plot", tmp_path / "a.png").exit_code == 0
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.size == (512, 512)


def test_picture_has_rising_q_upwards_rising_i_to_the_right_and_both_axes(tmp_path: Path):
    write_png(signal(3, offset=3 + 3j), tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as picture:
        bright = np.argwhere(np.asarray(picture) > 60)
        axes = np.asarray(picture)[256], np.asarray(picture)[:, 256]
    assert len(bright) > 500
    assert (bright[:, 0].max() < 256) & (bright[:, 1].min() > 256)
    assert all((axis >= 60).all() for axis in axes)


def test_plot_into_anything_but_a_png_or_a_folder_that_is_there_is_refused(
    server: SmallServer, recording: Path, tmp_path: Path
):
    for plot in ("a.svg", tmp_path / "none" / "a.png"):
        done = run(server, "classify", recording, "--sample-format", "cf32", "--plot", plot)
        assert done.exit_code == FAILED
        assert "plot" in done.output


def test_plot_of_a_file_that_is_not_there_or_shows_no_signal_is_refused(server: SmallServer, tmp_path: Path):
    assert "cannot be read" in run(server, "classify", tmp_path / "none.npy", "--plot", "-").output
    (tmp_path / "empty.npy").write_bytes(npy(KNOWN[:0]))
    done = run(server, "classify", tmp_path / "empty.npy", "--plot", "-")
    assert done.exit_code == FAILED
    assert "at least 128" in done.output


def test_histogram_counts_each_sample_in_the_cell_of_its_i_and_q():
    samples = np.array([1 + 1j, -1 + 1j, -1 + 1j, 1 - 1j, 0.1 + 0.1j], np.complex64)
    assert histogram_of(samples, 2).tolist() == [[2, 2], [0, 1]]


def test_text_shows_the_cells_that_hold_more_than_stray_samples():
    counts = np.zeros((4, 4), np.int64)
    counts[0, 0], counts[3, 3], counts[0, 3] = 10, 10, 1
    assert as_text(counts) == chr(0x2800 + 0x01) + chr(0x2800 + 0x80)
    assert as_text(np.zeros((4, 2), np.int64)) == chr(0x2800)


def test_samples_of_a_file_are_those_that_the_service_reads(recording: Path):
    assert np.array_equal(samples_of(recording, "cf32"), KNOWN)


def test_files_of_several_formats_are_not_read_by_that_of_the_first(server: SmallServer, tmp_path: Path):
    (tmp_path / "a.cf32").write_bytes(cf32(KNOWN))
    (tmp_path / "b.ci16").write_bytes(ci16(KNOWN))
    np.save(tmp_path / "c.npy", KNOWN)
    for command in ("compare", "embed"):
        for others in (("b.ci16", "a.cf32"), ("a.cf32", "c.npy")):
            refused = run(server, command, *(tmp_path / name for name in others))
            assert (refused.exit_code, "not of one format" in refused.stderr) == (2, True), refused.output
    refused = run(server, "enroll", "ada", tmp_path / "a.cf32", tmp_path / "b.ci16")
    assert (refused.exit_code, "not of one format" in refused.stderr) == (2, True)


def test_rows_of_a_file_of_people_are_read_by_the_formats_of_their_names(server: SmallServer, tmp_path: Path):
    (tmp_path / "a.cf32").write_bytes(cf32(KNOWN))
    (tmp_path / "b.ci16").write_bytes(ci16(STRANGE))
    (tmp_path / "people.csv").write_text("subject_id,file\nwave,a.cf32\nwave,b.ci16\n")
    done = run(server, "enroll", "--from", tmp_path / "people.csv", "--json")
    assert (done.exit_code, json.loads(done.stdout)["enrolled"]) == (0, 2), done.output
    server.client().delete_subject("wave")
