"""Named numbers over HTTP: as objects, as files and from the client they are one sample; each refusal has its code."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests

from matchka.bundles.bundle import sha256_of
from tests.factories.bundles import edit_bundle, write_bundle
from tests.factories.graphs import projection, write_graph
from tests.factories.named_numbers import FREQUENCY, GAIN
from tests.factories.slow_embedding import cosine
from tests.factories.small_server import SmallServer, serving, small_settings

WARM = {"frequency": 30.0, "gain": 11.0}
BRIGHT = {"gain": -11.5, "frequency": 60.0}
JSON = {"Content-Type": "application/json"}


def embedding_of(numbers: dict[str, float]) -> np.ndarray:
    """What the test graph makes of a row, in float64."""
    bands, mix, bias = (weights.astype(np.float64) for weights in projection())
    row = np.array([numbers["frequency"], numbers["gain"]])
    return np.abs(row @ np.resize(bands, (2, 24))) @ mix + bias


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallServer]:
    """A server of one model for a frequency and a gain."""
    folder = tmp_path_factory.mktemp("tabular")
    bundle = write_bundle(folder / "models" / "tone", "tone", input={"kind": "tabular", "fields": [FREQUENCY, GAIN]})
    write_graph(bundle / "model.onnx", input_name="values", window=2)
    edit_bundle(bundle, lambda manifest: manifest["files"].update({"model.onnx": sha256_of(bundle / "model.onnx")}))
    with serving(small_settings(folder)) as running:
        yield running


def test_sample_as_object_file_and_mapping_is_compared_alike(server: SmallServer, tmp_path: Path):
    (tmp_path / "bright.json").write_text(json.dumps(BRIGHT))
    form = [("file_a", ("a", json.dumps(WARM).encode())), ("file_b", ("b", json.dumps(BRIGHT).encode()))]
    answers = [
        post(server, "compare", {"file_a": WARM, "file_b": BRIGHT}),
        requests.post(f"{server.url}/v1/compare", data={"model": "tone"}, files=form, timeout=60).json(),
        json.loads(server.client().compare(WARM, tmp_path / "bright.json", model="tone").model_dump_json()),
    ]
    expected = cosine(embedding_of(WARM), embedding_of(BRIGHT))
    assert [answer["similarity"] for answer in answers] == [pytest.approx(expected, abs=1e-5)] * 3
    assert answers[0] == answers[1]


def test_subject_of_several_objects_is_enrolled_found_and_told_from_another(server: SmallServer):
    near = {"frequency": 32, "gain": 10.5}
    enrolled = post(server, "enroll", {"subject_id": "warm", "file": [WARM, near]})
    assert enrolled["template_count"] == 2
    assert post(server, "verify", {"subject_id": "warm", "file": near})["match"]
    assert post(server, "identify", {"file": near})["match"] == "warm"
    repeated = post(server, "enroll", {"subject_id": "warm", "file": WARM})
    assert repeated["code"] == "duplicate_sample"


@pytest.mark.parametrize(
    ("sample", "code", "value"),
    [
        ({**WARM, "gain": 12.5}, "number_out_of_range", "12.5"),
        ({**WARM, "gain": 10**400}, "number_out_of_range", "inf"),
        ({**WARM, "gain": float("nan")}, "not_a_number", "NaN"),
        ({**WARM, "gain": True}, "not_a_number", "true"),
        ({**WARM, "gain": "3"}, "not_a_number", "3"),
        ({**WARM, "pan": 0}, "unknown_number", "pan"),
        ({"gain": 3}, "missing_number", "frequency"),
        ({}, "missing_number", "frequency"),
        ("W10=", "not_numbers", "JSON, but no object"),
        ("", "empty_file", None),
    ],
)
def test_sample_that_no_row_is_made_of_is_answered_with_its_problem(
    server: SmallServer, sample: object, code: str, value: str | None
):
    problem = post(server, "identify", {"file": sample})
    assert (problem["status"], problem["code"], problem["value"]) == (422, code, value)
    document = requests.get(f"{server.url}/openapi.json", timeout=60).json()
    declared = document["paths"]["/v1/identify"]["post"]["responses"]["422"]["content"]["application/problem+json"]
    assert code in declared["schema"]["properties"]["code"]["enum"]


def test_sample_with_the_option_of_another_modality_is_refused(server: SmallServer):
    problem = post(server, "identify", {"file": WARM, "face": "only"})
    assert (problem["code"], problem["value"]) == ("invalid_field", "only")
    assert "takes JSON objects of numbers" in problem["detail"]


def test_objects_of_more_than_a_body_may_have_outside_its_strings_are_taken_as_base64(server: SmallServer):
    digits = "0" * 3000  # 32 such samples are more than 64 KiB
    sample = f'{{"frequency": 30.{digits}, "gain": 11}}'
    body = f'{{"model": "tone", "file": [{",".join([sample] * 32)}]}}'
    refused = requests.post(f"{server.url}/v1/embed", data=body, headers=JSON, timeout=60).json()
    assert (refused["code"], refused["value"]) == ("malformed_form", "more than 64 KiB outside its strings")
    assert "as base64" in refused["remedy"]
    taken = post(server, "embed", {"file": [base64.b64encode(sample.encode()).decode()] * 32})
    assert len(taken["embeddings"]) == 32


def post(server: SmallServer, call: str, fields: dict[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = requests.post(
        f"{server.url}/v1/{call}", data=json.dumps({"model": "tone", **fields}), headers=JSON, timeout=60
    ).json()
    return answer
