"""Calls need an output of a kind: bundles that only classify, and bundles that embed and classify, over real HTTP."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests

from matchka.app import create_app
from matchka.bundles.bundle import read_bundle
from matchka.errors import RequestFailedError
from matchka.inference.model import open_model
from matchka.settings import read_settings
from tests.factories.bundles import DIMS, write_bundle
from tests.factories.classifiers import CLASS_WEIGHTS, CLASSES, write_classifier
from tests.factories.command_line import run
from tests.factories.graphs import projection
from tests.factories.samples import sample, voice
from tests.factories.slow_embedding import cosine, embedding_of
from tests.factories.small_server import SmallServer, serving, small_settings

TIMEOUT_S = 60


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallServer]:
    """`voice` embeds, `sorter` classifies, `both` does both."""
    folder = tmp_path_factory.mktemp("outputs")
    write_bundle(folder / "models" / "voice")
    write_classifier(folder / "models" / "sorter", "sorter", embeds=False)
    write_classifier(folder / "models" / "both", "both", embeds=True)
    with serving(small_settings(folder)) as running:
        yield running


def models_of(server: SmallServer) -> dict[str, dict[str, Any]]:
    answer = requests.get(f"{server.url}/v1/models", timeout=TIMEOUT_S).json()
    return {model["name"]: model for model in answer["models"]}


CALLS = {
    "embed": ({}, ["file"]),
    "enroll": ({"subject_id": "ada"}, ["file"]),
    "verify": ({"subject_id": "ada"}, ["file"]),
    "compare": ({}, ["file_a", "file_b"]),
    "identify": ({}, ["file"]),
}


@pytest.mark.parametrize("call", CALLS)
def test_call_that_embeds_by_a_bundle_that_only_classifies_is_refused_and_says_what_it_has(
    server: SmallServer, call: str
):
    fields, files = CALLS[call]
    response = requests.post(
        f"{server.url}/v1/{call}",
        data={"model": "sorter", **fields},
        files=[(name, ("clip.wav", sample(1))) for name in files],
        timeout=TIMEOUT_S,
    )
    problem = response.json()
    assert (response.status_code, problem["code"], problem["value"]) == (422, "output_not_available", "sorter")
    assert problem["detail"] == "The model sorter 1.0.0 has no output of the kind embedding; it has class."
    assert "/v1/models" in problem["remedy"]
    responses = create_app(read_settings({})).openapi()["paths"][f"/v1/{call}"]["post"]["responses"]
    declared = responses["422"]["content"]["application/problem+json"]["schema"]["properties"]["code"]["enum"]
    assert "output_not_available" in declared


def test_refused_enrolment_stores_nothing(server: SmallServer):
    with pytest.raises(RequestFailedError, match="no output of the kind embedding"):
        server.client().enroll("nobody", [sample(1)], "sorter")
    with pytest.raises(RequestFailedError, match="nobody"):
        server.client().subject("nobody")


def test_bundle_of_an_embedding_and_a_class_enrols_verifies_and_identifies_by_its_embedding(server: SmallServer):
    client = server.client()
    client.enroll("ada", [sample(1, 0)], "both")
    client.enroll("ben", [sample(2, 0)], "both")
    verified = client.verify("ada", sample(1, 1), "both")
    expected = cosine(embedding_of(voice(1, 0)), embedding_of(voice(1, 1)))
    assert verified.similarity == pytest.approx(expected, abs=1e-5)
    found = client.identify(sample(2, 1), "both")
    assert found.candidates[0].subject_id == "ben"
    embedded = client.embed([sample(3)], "both").embeddings[0]
    np.testing.assert_allclose(embedded, embedding_of(voice(3)), atol=2e-5)


def test_list_of_models_says_what_each_returns(server: SmallServer):
    models = models_of(server)
    dims = {"kind": "embedding", "full_dim": 8, "dims": list(DIMS), "scorer": {"kind": "cosine"}}
    assert {name: model["outputs"] for name, model in models.items()} == {
        "voice": {"embeddings": dims},
        "both": {"logits": CLASSES, "embeddings": dims},
        "sorter": {"logits": CLASSES},
    }
    sorter = models["sorter"]
    assert (sorter["full_dim"], sorter["dims"], sorter["per_dim"]) == (0, [], {})
    assert (sorter["subjects"], sorter["subjects_to_reenroll"]) == (0, 0)
    assert models["both"]["per_dim"] == models["voice"]["per_dim"]
    assert {m.name: list(m.outputs) for m in server.client().models().models}["sorter"] == ["logits"]


def test_command_models_lists_a_bundle_that_does_not_embed(server: SmallServer):
    done = run(server, "models")
    assert done.exit_code == 0, done.output
    assert re.search(
        r"sorter 1\.0\.0: float graph; graphs [\d.]+ MB, gallery 0\.0 MB; class; no embedding", done.output
    )
    assert "both 1.0.0" in done.output


def test_readiness_and_metrics_of_a_bundle_that_does_not_embed_are_answered(server: SmallServer):
    ready = requests.get(f"{server.url}/readyz", timeout=TIMEOUT_S).json()
    assert ready["subjects_to_reenroll"]["sorter"] == 0
    assert requests.get(f"{server.url}/metrics", timeout=TIMEOUT_S).status_code == 200


def test_deletion_of_a_subject_beside_a_bundle_that_does_not_embed_takes_it_out_of_every_gallery(server: SmallServer):
    client = server.client()
    client.enroll("gone", [sample(7)], "both")
    client.delete_subject("gone")
    assert "gone" not in [c.subject_id for c in client.identify(sample(7), "both").candidates]


def test_service_of_a_bundle_that_only_classifies_starts_and_keeps_its_data(tmp_path: Path):
    write_classifier(tmp_path / "models" / "sorter", "sorter", embeds=False)
    for _ in range(2):
        with serving(small_settings(tmp_path)) as running:
            assert list(models_of(running)) == ["sorter"]


def test_version_that_no_longer_embeds_beside_an_older_one_that_does_is_served(tmp_path: Path):
    write_bundle(tmp_path / "models" / "voice-1", "voice")
    with serving(small_settings(tmp_path)) as running:
        running.client().enroll("ada", [sample(1)], "voice")
    write_classifier(tmp_path / "models" / "voice", "voice", embeds=False, version="2.0.0")
    with serving(small_settings(tmp_path)) as running:
        answer = requests.get(f"{running.url}/v1/models", timeout=TIMEOUT_S).json()
        assert [(m["version"], m["subjects"]) for m in answer["models"]] == [("2.0.0", 0), ("1.0.0", 1)]
        assert [m["subjects_to_reenroll"] for m in answer["models"]] == [0, 0]  # nobody could enrol with version 2.0.0
        folders = {"MATCHKA_MODELS_DIR": str(tmp_path / "models"), "MATCHKA_DATA_DIR": str(tmp_path / "data")}
        status = json.loads(run(running, "gallery", "status", "--json", **folders).output)
        assert status["subjects_to_reenroll"] == {}
        assert [held["current"] for held in status["holdings"]] == [False]
        with pytest.raises(RequestFailedError, match=r"voice 2\.0\.0 has no output of the kind embedding"):
            running.client().verify("ada", sample(1), "voice")
        running.client().delete_subject("ada")


def test_observe_of_several_files_gives_the_rows_of_each_output_in_order(tmp_path: Path):
    settings = small_settings(tmp_path)
    model = open_model(read_bundle(write_classifier(tmp_path / "models" / "both", "both", embeds=True)), settings)
    seen = model.observe([sample(1, 0, 1.0), sample(2, 0, 0.6)], model.options_for("probe", {}))
    alone = model.observe([sample(2, 0, 0.6)], model.options_for("probe", {}))
    model.close()
    assert sum(seen.rows) == len(seen.outputs["logits"]) == len(seen.outputs["embeddings"])
    last = seen.outputs["logits"][seen.rows[0] :]
    np.testing.assert_allclose(last, alone.outputs["logits"], atol=1e-5)
    bands, _, _ = projection()
    (rows,) = (one.rows for one in model.reader.read(sample(2, 0, 0.6), model.options_for("probe", {})))
    expected = np.abs(rows.astype(np.float64) @ bands) @ CLASS_WEIGHTS
    np.testing.assert_allclose(last, expected, rtol=1e-4, atol=1e-4)
