"""Thresholds by band of a condition: the worse of probe and templates decides, in every call that compares."""

import json
import math
import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import pytest

from matchka.bundles.bundle import read_bundle
from matchka.bundles.fusion_file import Fusion
from matchka.bundles.outputs.embedding import EmbeddingOutput
from matchka.bundles.repository import read_bundles
from matchka.errors import BundleError
from matchka.inference.model import open_model
from matchka.store.store import opened_store
from matchka.tasks.embedding.verifier import Verifier
from tests.factories.bundles import CALIBRATION, DIMS, VERSION, digest_of, dim_report, embedding_output, write_bundle
from tests.factories.radio_bundle import slow_value, write_radio_bundle
from tests.factories.recordings import npy, signal
from tests.factories.samples import sample
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


@pytest.mark.parametrize("band", [0, 1, 2])
def test_answers_say_what_thresholds_depended_on_of_the_samples_that_were_sent(server: SmallServer, band: int):
    client, expected = server.client(), slow_value(signal(5, offset=OFFSETS[band]), "real")
    verified = client.verify("middle", recording(band, 5), "radio")
    compared = client.compare(recording(1, 6), recording(band, 5), "radio")
    found = client.identify(recording(band, 5), "radio")
    assert [list(one or {}) for one in verified.conditions or []] == [["snr_db"]]
    assert (verified.conditions or [])[0] == found.condition == pytest.approx({"snr_db": expected}, abs=1e-3)
    assert (compared.conditions or [])[1] == pytest.approx({"snr_db": expected}, abs=1e-3)
    assert (compared.conditions or [])[0] == pytest.approx(
        {"snr_db": slow_value(signal(6, offset=OFFSETS[1]), "real")}, abs=1e-3
    )


def test_answers_of_a_model_with_one_threshold_for_all_name_no_condition(server: SmallServer):
    client = server.client()
    assert client.verify("low", recording(0, 5), "plain").conditions is None
    assert client.identify(recording(0, 5), "plain").condition is None


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


def by_count(one: float, three: float) -> dict[str, Any]:
    """Points of a reference of one template and of three."""
    return points_at(one) | {"operating_points": {"1": steep_points(one), "3": steep_points(three)}}


def steep_points(threshold: float) -> list[dict[str, Any]]:
    return [
        {"fmr": 1e-1, "threshold": threshold - 0.05, "measured": True},
        {"fmr": 1e-3, "threshold": threshold, "measured": True},
    ]


def serving_bands(folder: Path, *bands: dict[str, Any]) -> AbstractContextManager[SmallServer]:
    report = {**dim_report(), **by_count(OF_ALL, OF_ALL), "bands": list(bands)}
    condition = {"value": "snr_db", "edges": EDGES}
    entry = embedding_output(report=report) | {"condition": condition}
    write_radio_bundle(folder / "models" / "radio", embeddings=entry)
    return serving(small_settings(folder))


def test_identify_names_nobody_whom_verify_refuses_at_the_same_rate_because_of_the_number_of_templates(tmp_path: Path):
    bands = by_count(0.99999, 0.99999), by_count(0.61, 0.61), by_count(0.22, 0.9999)
    with serving_bands(tmp_path, *bands) as server:
        client = server.client()
        # by force: at this made-up threshold they do not agree
        client.enroll("three", [recording(2, 30), recording(2, 31), recording(2, 32)], "radio", force=True)
        for number in range(6):
            client.enroll(f"one-{number}", [recording(0, 40 + number)], "radio")
        firsts = set()
        for seed in range(5, 12):
            found = client.identify(recording(2, seed), "radio", max_fpir=0.007, top_k=9)
            firsts.add(max(found.candidates, key=lambda one: one.similarity).subject_id == "three")
            (held,) = [one for one in found.candidates if one.subject_id == "three"]
            claimed = client.verify("three", recording(2, seed), "radio")
            assert held.threshold == pytest.approx(claimed.threshold, abs=1e-3)
            assert (found.match, claimed.match) == (None, False)
        assert firsts == {True, False}  # whoever is the most similar, the threshold is that of three templates


@pytest.mark.parametrize("noisy", [4, 20])
def test_enrolment_reports_a_similar_subject_that_clears_its_own_threshold_behind_more_similar_ones_that_do_not(
    tmp_path: Path, noisy: int
):
    bands = by_count(0.99999, 0.99999), by_count(0.61, 0.61), by_count(0.22, 0.22)
    with serving_bands(tmp_path, *bands) as server:
        client = server.client()
        client.enroll("clear", [recording(2, 110)], "radio")
        for number in range(noisy):
            client.enroll(f"noisy-{number}", [recording(0, 40 + number)], "radio")
        probe = recording(2, 6)
        similarities = {one.subject_id: one.similarity for one in client.identify(probe, "radio", top_k=50).candidates}
        ahead = [name for name, similarity in similarities.items() if similarity > similarities["clear"]]
        assert len(ahead) > 5 or noisy < 5
        assert client.identify(probe, "radio").match == "clear"
        assert [one.subject_id for one in client.enroll("new", [probe], "radio").similar_subjects] == ["clear"]


def test_model_without_a_condition_keeps_its_one_threshold_and_stores_none(server: SmallServer):
    thresholds = {server.client().verify("low", recording(band, 5), "plain").threshold for band in OFFSETS}
    assert len(thresholds) == 1
    assert [one for (one,) in rows(server, "plain", "subject_references")] == [None]
    assert None not in [one for (one,) in rows(server, "radio", "subject_references")]


@pytest.mark.parametrize(("probe", "threshold"), [(0, OF_BANDS[0]), (1, OF_BANDS[1]), (2, OF_ALL)])
def test_template_whose_condition_is_not_known_is_judged_by_the_stricter_of_the_probes_band_and_all_bands(
    server: SmallServer, probe: int, threshold: float
):
    client = server.client()
    client.enroll("old", [recording(2, 30)], "radio")
    write(server, "UPDATE templates SET condition = NULL WHERE subject_key = (SELECT max(key) FROM subjects)")
    client.enroll("old", [recording(2, 31)], "radio")  # recomputes the reference
    answer = client.verify("old", recording(probe, 5), "radio")
    assert answer.threshold == pytest.approx(threshold, abs=1e-6)
    assert answer.match == (answer.similarity >= threshold)
    found = client.identify(recording(probe, 5), "radio", max_fpir=0.005, top_k=9).candidates
    (held,) = [one for one in found if one.subject_id == "old"]
    assert held.threshold == pytest.approx(threshold, abs=1e-3)  # five subjects at an FPIR of .005
    client.delete_subject("old")


def test_fusion_takes_the_calibration_of_all_bands_that_it_was_learned_with(tmp_path: Path):
    write_bundle(tmp_path / "models" / "voice")
    write_radio_bundle(tmp_path / "models" / "radio", embeddings=banded())
    learned = {
        "models": {"voice": VERSION, "radio": VERSION},
        "weights": {"voice": 1.1, "radio": 0.9},
        "offset": 0.5,
        "operating_points": [{"fmr": 1e-3, "threshold": 0.0, "measured": True}],
    }
    fusion = Fusion.model_validate({"format": "matchka-fusion-1", "eer": {}, "datasets": [], **learned})
    settings = small_settings(tmp_path)
    models = [open_model(bundle, settings) for bundle in read_bundles(settings.models_dir)]
    with ExitStack() as stack:
        for model in models:
            stack.callback(model.close)
        store = stack.enter_context(opened_store(f"sqlite:///{tmp_path}/store"))
        verifier = Verifier(models, store, [fusion])
        stack.callback(verifier.close)
        verifier.load()
        enrolled = {"voice": sample(1), "radio": recording(2, 10)}
        for name, data in enrolled.items():
            verifier.enroll("default", name, "ada", [data])
        probes = {"voice": sample(1, 5), "radio": recording(0, 5)}
        found = verifier.verify_jointly("default", "voice+radio", "ada", probes, 1e-3, None)
    assert found.parts["radio"].decision.threshold.value == pytest.approx(OF_BANDS[0], abs=1e-6)
    of_voice, of_radio = (found.parts[name].decision.similarity for name in ("voice", "radio"))
    scale, offset = CALIBRATION["1"]
    ratio = 0.5 + 1.1 * (scale * of_voice + offset) + 0.9 * (10 * OF_ALL * of_radio - 5.0)
    assert 2 * math.atanh(found.fused.similarity) == pytest.approx(ratio, abs=1e-5)


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
        (banded(condition={"value": "snr_db", "edges": EDGES, "source": "sample"}), "iq does not measure snr_db"),
        (banded(condition={"value": "snr_db", "edges": EDGES, "source": "guess"}), "source"),
    ],
)
def test_manifest_whose_bands_do_not_fit_the_condition_is_refused(tmp_path: Path, entry: dict[str, Any], told: str):
    write_radio_bundle(tmp_path / "radio", embeddings=entry)
    with pytest.raises(BundleError, match=told):
        read_bundle(tmp_path / "radio")


def test_bundle_whose_bands_are_not_those_that_were_measured_is_refused(tmp_path: Path):
    folder = write_radio_bundle(tmp_path / "radio", embeddings=banded())
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["outputs"]["embeddings"]["condition"]["edges"] = [EDGES[0] - 20, EDGES[1]]
    manifest["content_digest"] = digest_of(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match="does not state what was measured") as refused:
        read_bundle(folder)
    assert refused.value.value == "condition"


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
