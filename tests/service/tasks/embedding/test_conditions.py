"""Thresholds by band of a condition: the worse of probe and templates decides, in every call that compares."""

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from matchka.bundles.bundle import read_bundle
from matchka.bundles.outputs.embedding import EmbeddingOutput
from matchka.errors import BundleError
from tests.factories.bundles import DIMS, dim_report, embedding_output
from tests.factories.radio_bundle import slow_value, write_radio_bundle
from tests.factories.recordings import npy, signal
from tests.factories.small_server import SmallServer, serving, small_settings

EDGES = [0.0, 30.0]
OF_ALL, *OF_BANDS = 0.31, 0.92, 0.61, 0.22  # thresholds at an FMR of 1e-3: of all bands together, and of each
OFFSETS = {0: -0.3, 1: 0.1, 2: 1.0}  # a signal of each band


def points_at(threshold: float) -> dict[str, Any]:
    points = [{"fmr": 1e-1, "threshold": threshold / 2, "measured": True}]
    points += [{"fmr": 1e-3, "threshold": threshold, "measured": True}]
    return {
        "calibration": {"1": {"scale": 10 * threshold, "offset": -5.0, "cllr": 0.2, "min_cllr": 0.1}},
        "operating_points": {"1": points},
    }


def banded(bands: int = 3, **changes: Any) -> dict[str, Any]:
    report = {**dim_report(), **points_at(OF_ALL), "bands": [points_at(threshold) for threshold in OF_BANDS[:bands]]}
    condition = {"value": "snr_db", "edges": EDGES}
    return embedding_output(report=report) | {"condition": condition} | changes


def recording(band: int, seed: int) -> bytes:
    samples = signal(seed, offset=OFFSETS[band])
    assert sum(slow_value(samples, "real") >= edge for edge in EDGES) == band
    return npy(samples)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallServer]:
    """Subjects `low`, `middle` and `high` have one template of that band, `mixed` one of each but the lowest."""
    folder = tmp_path_factory.mktemp("conditions")
    write_radio_bundle(folder / "models" / "radio", embeddings=banded())
    write_radio_bundle(folder / "models" / "plain", "plain")
    with serving(small_settings(folder)) as running:
        client = running.client()
        for number, name in enumerate(("low", "middle", "high")):
            client.enroll(name, [recording(number, 10 + number)], "radio")
        client.enroll("mixed", [recording(2, 20), recording(1, 21)], "radio")
        client.enroll("low", [recording(0, 10)], "plain")
        yield running


@pytest.mark.parametrize("probe", [0, 1, 2])
@pytest.mark.parametrize(("subject", "own"), [("low", 0), ("middle", 1), ("high", 2), ("mixed", 1)])
def test_verify_uses_the_band_of_the_lower_condition(server: SmallServer, subject: str, own: int, probe: int):
    answer = server.client().verify(subject, recording(probe, 5), "radio")
    threshold = OF_BANDS[min(own, probe)]
    assert answer.threshold == pytest.approx(threshold, abs=1e-6)
    assert answer.match == (answer.similarity >= threshold)
    posterior = answer.probability
    assert posterior is not None
    assert 1 / (1 + 2.718281828459045 ** -(10 * threshold * answer.similarity - 5.0)) == pytest.approx(posterior)


@pytest.mark.parametrize(("one", "other"), [(0, 2), (2, 0), (1, 2), (2, 2)])
def test_compare_uses_the_band_of_the_lower_condition(server: SmallServer, one: int, other: int):
    answer = server.client().compare(recording(one, 6), recording(other, 7), "radio", dim=4)
    assert answer.threshold == pytest.approx(OF_BANDS[min(one, other)], abs=1e-6)


def test_identify_holds_each_candidate_against_the_threshold_of_its_own_band_and_orders_by_margin(server: SmallServer):
    answer = server.client().identify(recording(2, 12), "radio", max_fpir=0.004)
    bands = {"low": 0, "middle": 1, "high": 2, "mixed": 1}
    assert {one.subject_id for one in answer.candidates} == set(bands)
    # four subjects at an FPIR of .004 keep an FMR of .001 each
    for one in answer.candidates:
        assert one.threshold == pytest.approx(OF_BANDS[bands[one.subject_id]], abs=1e-3)
    margins = [one.similarity - one.threshold for one in answer.candidates]
    assert margins == sorted(margins, reverse=True)
    assert (answer.match, answer.candidates[0].subject_id) == ("high", "high")
    by_similarity = sorted(answer.candidates, key=lambda one: -one.similarity)
    assert [one.subject_id for one in by_similarity] != [one.subject_id for one in answer.candidates]
    (first,) = server.client().identify(recording(2, 12), "radio", max_fpir=0.004, top_k=1).candidates
    assert first == answer.candidates[0]


def test_model_without_a_condition_keeps_its_one_threshold_and_stores_none(server: SmallServer):
    thresholds = {server.client().verify("low", recording(band, 5), "plain").threshold for band in OFFSETS}
    assert len(thresholds) == 1
    assert [one for (one,) in rows(server, "plain", "subject_references")] == [None]
    assert None not in [one for (one,) in rows(server, "radio", "subject_references")]


def test_template_whose_condition_is_not_known_is_judged_by_all_bands_together(server: SmallServer):
    client = server.client()
    client.enroll("old", [recording(2, 30)], "radio")
    write(server, "UPDATE templates SET condition = NULL WHERE subject_key = (SELECT max(key) FROM subjects)")
    client.enroll("old", [recording(2, 31)], "radio")  # recomputes the reference
    assert client.verify("old", recording(0, 5), "radio").threshold == pytest.approx(OF_ALL, abs=1e-6)
    client.delete_subject("old")


def rows(server: SmallServer, model: str, table: str) -> list[tuple[Any, ...]]:
    with sqlite3.connect(server.settings.data_dir / "matchka.sqlite") as connection:
        found = connection.execute(f"SELECT condition FROM {table} WHERE model = ?", (model,)).fetchall()
    connection.close()
    return found


def write(server: SmallServer, statement: str) -> None:
    with sqlite3.connect(server.settings.data_dir / "matchka.sqlite") as connection:
        connection.execute(statement)
    connection.close()


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        (banded(bands=2), "must have bands"),
        (banded(condition=None), "must have bands"),
        (embedding_output() | {"condition": {"value": "snr_db", "edges": EDGES}}, "must have bands"),
        (banded(condition={"value": "eyes", "edges": EDGES}), "values of the names eyes"),
        (banded(condition={"value": "snr_db", "edges": [1.0, 0.0]}), "edges must rise"),
    ],
)
def test_manifest_whose_bands_do_not_fit_the_condition_is_refused(tmp_path: Path, entry: dict[str, Any], told: str):
    write_radio_bundle(tmp_path / "radio", embeddings=entry)
    with pytest.raises(BundleError, match=told):
        read_bundle(tmp_path / "radio")


def test_band_without_points_for_one_template_is_refused(tmp_path: Path):
    entry = banded()
    for report in entry["per_dim"].values():
        report["bands"][1] = {**points_at(0.5), "operating_points": {}}
    write_radio_bundle(tmp_path / "radio", embeddings=entry)
    with pytest.raises(BundleError, match="at least those of a reference of one template"):
        read_bundle(tmp_path / "radio")


def test_manifest_without_a_condition_is_written_as_before(tmp_path: Path):
    manifest = read_bundle(write_radio_bundle(tmp_path / "radio")).manifest
    written = json.loads(manifest.model_dump_json())["outputs"]
    assert "condition" not in written["embeddings"]
    assert all("bands" not in report for report in written["embeddings"]["per_dim"].values())
    assert written["class"] == {"kind": "class", "labels": ["BPSK", "QPSK", "FM"]}
    assert manifest.output(EmbeddingOutput).summary().keys() == {"kind", "full_dim", "dims", "scorer"}
    assert set(written["embeddings"]["per_dim"]) == {str(dim) for dim in DIMS}
