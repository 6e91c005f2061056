"""POST /v1/classify: pooled probabilities and values, unknown by band, and what is refused."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests

from matchka.bundles.bundle import read_bundle
from matchka.errors import BundleError
from matchka.inference.model import open_model
from tests.factories.bundles import write_bundle
from tests.factories.classifiers import CLASS_WEIGHTS, LABELS, write_classifier
from tests.factories.graphs import projection
from tests.factories.named_numbers import FREQUENCY, GAIN
from tests.factories.radio_bundle import OUTPUTS, slow_probabilities, slow_value, write_radio_bundle
from tests.factories.recordings import WINDOW, cf32, npy, signal
from tests.factories.samples import sample
from tests.factories.small_server import SmallServer, serving, small_settings

RADIO = OUTPUTS["class"]
BANDED = {"value": "known", "condition": {"value": "snr_db", "edges": [0.0, 30.0]}, "thresholds": [5.0, -5.0, 20.0]}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallServer]:
    """Classifiers with one threshold, with bands and with none, and a model that only embeds."""
    folder = tmp_path_factory.mktemp("classes")
    write_bundle(folder / "models" / "voice")
    write_classifier(folder / "models" / "sorter", "sorter", embeds=False)
    write_classifier(folder / "models" / "tone", "tone", embeds=True, fields=[FREQUENCY, GAIN])
    write_radio_bundle(folder / "models" / "all", "all")
    one = {"value": "known", "thresholds": [10.0]}
    write_radio_bundle(folder / "models" / "radio", "radio", class_=RADIO | {"unknown": one})
    write_radio_bundle(folder / "models" / "banded", "banded", class_=RADIO | {"unknown": BANDED})
    with serving(small_settings(folder)) as running:
        yield running


def classify(server: SmallServer, data: bytes, model: str = "radio", **fields: str) -> dict[str, Any]:
    answer: dict[str, Any] = requests.post(
        f"{server.url}/v1/classify", data={"model": model, **fields}, files={"file": ("f", data)}, timeout=60
    ).json()
    return answer


@pytest.mark.parametrize("windows", [1, 3])
def test_classify_of_a_recording_pools_its_windows_and_says_all_that_the_graph_estimates(
    server: SmallServer, windows: int
):
    samples = signal(3, windows * WINDOW, offset=0.5 + 0.4j)
    answer = classify(server, npy(samples))
    expected = slow_probabilities(samples)
    ranked = sorted(expected, key=lambda label: -expected[label])
    assert [one["label"] for one in answer["classes"]] == ranked
    found = {one["label"]: one["probability"] for one in answer["classes"]}
    assert found == pytest.approx(expected, abs=1e-5)
    assert answer["values"] == pytest.approx(
        {"snr_db": slow_value(samples, "real"), "known": slow_value(samples, "imag")}, abs=1e-3
    )
    assert (answer["label"], answer["windows"], answer["model"], answer["version"]) == (
        ranked[0], windows, "radio", "1.0.0",
    )  # fmt: skip
    power = 10 * np.log10(np.mean(np.abs(samples.astype(np.complex128)) ** 2))
    assert answer["sample"] == {
        "windows": windows, "samples": windows * WINDOW, "power_dbfs": pytest.approx(power, abs=1e-4),
    }  # fmt: skip


def test_classify_below_the_threshold_of_known_gives_no_label_and_all_probabilities(server: SmallServer):
    strange = npy(signal(3, offset=-0.4j))
    answer = classify(server, strange)
    assert answer["values"]["known"] < 10
    assert answer["label"] is None
    assert sum(one["probability"] for one in answer["classes"]) == pytest.approx(1)
    by_all = classify(server, strange, model="all")  # whose manifest has no rule
    assert by_all["label"] == by_all["classes"][0]["label"]
    assert by_all["classes"] == answer["classes"]


@pytest.mark.parametrize(
    ("offset", "is_known"),
    [
        (-0.2, False),  # below the first edge: known of about 0 is below 5
        (0.1, True),  # between: and above -5
        (1.0, False),  # beyond the last: and below 20
        (-0.2 + 0.4j, True),
        (0.1 - 0.4j, False),
        (1.0 + 0.9j, True),
    ],
)
def test_classify_with_bands_holds_known_against_the_threshold_of_its_band(
    server: SmallServer, offset: complex, is_known: bool
):
    samples = signal(3, 8 * WINDOW, offset)
    band = sum(slow_value(samples, "real") >= edge for edge in (0.0, 30.0))
    assert (slow_value(samples, "imag") >= [5.0, -5.0, 20.0][band]) == is_known
    assert (classify(server, npy(samples), "banded")["label"] is not None) == is_known


def test_classify_of_a_clip_is_what_its_windows_give(server: SmallServer):
    answer = classify(server, sample(1), "sorter")
    settings = server.settings
    model = open_model(read_bundle(settings.models_dir / "sorter"), settings)
    (seen,) = model.reader.read(sample(1), model.options_for("probe", {}))
    model.close()
    logits = np.abs(seen.rows.astype(np.float64) @ projection()[0]) @ CLASS_WEIGHTS
    logs = logits - np.log(np.exp(logits - logits.max(axis=1, keepdims=True)).sum(axis=1, keepdims=True))
    logs -= logits.max(axis=1, keepdims=True)
    pooled = np.exp(logs.mean(axis=0) - logs.mean(axis=0).max())
    found = {one["label"]: one["probability"] for one in answer["classes"]}
    assert [found[label] for label in LABELS] == pytest.approx((pooled / pooled.sum()).tolist(), abs=1e-3)
    assert (answer["values"], answer["windows"], answer["sample"]) == ({}, len(seen.rows), None)


def test_classify_of_named_numbers_takes_them_as_an_object(server: SmallServer):
    body = json.dumps({"model": "tone", "file": {"frequency": 30, "gain": -2}})
    headers = {"Content-Type": "application/json"}
    answer = requests.post(f"{server.url}/v1/classify", body, headers=headers, timeout=60).json()
    logits = np.abs(np.array([30.0, -2.0]) @ np.resize(projection()[0], (2, 24))) @ CLASS_WEIGHTS
    shares = np.exp(logits - logits.max())
    found = {one["label"]: one["probability"] for one in answer["classes"]}
    assert [found[label] for label in LABELS] == pytest.approx((shares / shares.sum()).tolist(), abs=1e-4)
    assert (answer["label"], answer["windows"]) == (LABELS[int(logits.argmax())], 1)


def test_classify_of_bare_samples_needs_their_format_by_name(server: SmallServer):
    samples = signal(3)
    refused = classify(server, cf32(samples))
    assert (refused["status"], refused["code"]) == (422, "not_recording")
    assert "sample_format" in refused["remedy"]
    assert classify(server, cf32(samples), sample_format="cf32") == classify(server, npy(samples))
    body = {"model": "radio", "file": base64.b64encode(cf32(samples)).decode(), "sample_format": "cf32"}
    as_json = requests.post(
        f"{server.url}/v1/classify", json.dumps(body), headers={"Content-Type": "application/json"}, timeout=60
    )
    assert as_json.json() == classify(server, npy(samples))


def test_classify_with_an_unknown_format_or_by_a_model_of_other_samples_is_refused(server: SmallServer):
    assert classify(server, b"x", sample_format="cu4")["code"] == "invalid_field"
    problem = classify(server, sample(1), "sorter", sample_format="cf32")
    assert (problem["code"], problem["value"]) == ("invalid_field", "cf32")
    assert "sample_format does not apply" in problem["detail"]


def test_classify_by_a_model_that_only_embeds_is_refused(server: SmallServer):
    problem = classify(server, sample(1), "voice")
    assert (problem["status"], problem["code"]) == (422, "output_not_available")
    assert problem["detail"] == "The model voice 1.0.0 has no output of the kind class; it has embedding."


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ({"value": "known", "thresholds": []}, "one entry"),
        ({"value": "known", "thresholds": [1.0, 2.0]}, "one entry"),
        ({**BANDED, "thresholds": [1.0]}, "one entry"),
        ({**BANDED, "condition": {"value": "snr_db", "edges": [3.0, 3.0]}}, "edges must rise"),
        ({"value": "knwon", "thresholds": [1.0]}, "values of the names knwon"),
        ({"value": "class", "thresholds": [1.0]}, "values of the names class"),
        ({**BANDED, "condition": {"value": "eyes", "edges": [0.0, 30.0]}}, "values of the names eyes"),
        ({"value": "known", "thresholds": [float("nan")]}, "finite"),
    ],
)
def test_manifest_with_a_rule_for_unknown_that_cannot_hold_is_refused(tmp_path: Path, rule: object, told: str):
    write_radio_bundle(tmp_path / "radio", class_=RADIO | {"unknown": rule})
    with pytest.raises(BundleError, match=told):
        read_bundle(tmp_path / "radio")
