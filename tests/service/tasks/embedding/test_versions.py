"""Two versions of a model side by side: each subject by the newest it has, and no similarity on another scale."""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from typer.testing import CliRunner

from matchka.app import opened_verifier
from matchka.bundles.outputs.embedding import EmbeddingOutput
from matchka.cli.gallery.gallery_status import gallery_sizes
from matchka.cli.main import app
from matchka.errors import DiffersFromSubjectError, OtherVersionError, UnknownSubjectError, UntrainedDimError
from matchka.modalities.face.detection import Face
from matchka.modalities.face.finding import FaceFinding
from matchka.tasks.embedding.enrolment import EnrolmentRules
from matchka.tasks.embedding.identification import counterpart
from matchka.tasks.embedding.thresholds import fmr_for_fpir, threshold_at
from matchka.tasks.embedding.verifier import Verifier
from tests.factories.bundles import dim_report, embedding_output, write_bundle
from tests.factories.samples import sample, voice
from tests.factories.server_process import start, stop
from tests.factories.slow_embedding import cosine, embedding_of
from tests.factories.small_server import small_settings

TENANT = "default"
OLD, NEW = "1.0.0", "2.0.0"
SEED = {OLD: 7, NEW: 8}
PEOPLE = range(1, 7)


def old_report() -> dict[str, object]:
    """Higher thresholds than the new version's: on these scales the same number means something else."""
    report = dim_report()
    for points in report["operating_points"].values():
        for point in points:
            point["threshold"] = 0.5 + point["threshold"] / 2
    return report


def write_old(folder: Path) -> Path:
    """Not trained at dim 2, which the new one is."""
    return write_bundle(folder, version=OLD, outputs={"embeddings": embedding_output(dims=(4, 8), report=old_report())})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six subjects enrolled with the old version; then both bundles, the new one current."""
    write_old(tmp_path / "before" / "voice")
    with opened_verifier(small_settings(tmp_path, models_dir=tmp_path / "before")) as old:
        old.load()
        for person in PEOPLE:
            old.enroll(TENANT, "voice", f"p{person}", [sample(person)])
    write_bundle(tmp_path / "models" / "voice", version=NEW, seed=SEED[NEW])
    write_old(tmp_path / "models" / "voice-1")
    return tmp_path


@pytest.fixture
def verifier(folder: Path) -> Iterator[Verifier]:
    with opened_verifier(small_settings(folder)) as opened:
        opened.load()
        yield opened


def reenrol(verifier: Verifier, *people: int, take: int = 1) -> list[str]:
    return [
        template_id
        for person in people
        for template_id in verifier.enroll(TENANT, "voice", f"p{person}", [sample(person, take)]).template_ids
    ]


def state(verifier: Verifier) -> list[tuple[str, bool, int, int]]:
    return [(v.manifest.version, v.is_current, v.subjects, v.subjects_to_reenroll) for v in verifier.versions(TENANT)]


def test_enrolments_go_to_the_current_version_and_the_rest_are_counted(verifier: Verifier):
    assert state(verifier) == [(NEW, True, 0, 6), (OLD, False, 6, 6)]
    assert verifier.subjects_to_reenroll() == {"voice": 6}
    reenrol(verifier, 1, 2)
    verifier.enroll(TENANT, "voice", "fresh", [sample(9)])
    assert state(verifier) == [(NEW, True, 3, 4), (OLD, False, 4, 4)]
    assert verifier.gallery_sizes() == {(TENANT, "voice"): 7}
    assert {t.version for t in verifier.subject(TENANT, "fresh").templates} == {NEW}
    # the old ones are kept until somebody says otherwise: going back is possible
    assert [t.version for t in verifier.subject(TENANT, "p1").templates] == [OLD, NEW]


def test_subject_who_moves_to_the_new_version_during_a_search_is_found(
    verifier: Verifier, monkeypatch: pytest.MonkeyPatch
):
    """Between the searches of the two galleries, whichever comes first."""
    waiting = [1, 2]
    for model in verifier._embedding.versions("voice"):
        gallery = verifier._galleries.of(TENANT, model)

        def search_and_move(*args: Any, search: Any = gallery.search) -> Any:
            hits = search(*args)
            if waiting:
                reenrol(verifier, waiting.pop())
            return hits

        monkeypatch.setattr(gallery, "search", search_and_move)
    for person in (2, 1):
        (found,) = verifier.identify_each(TENANT, "voice", sample(person), 6, None, 1e-1)
        assert f"p{person}" in {candidate.subject_id for candidate in found.candidates}


def test_first_templates_of_a_new_version_have_to_agree_with_those_of_the_old_one(verifier: Verifier):
    old, probes = embedding_of(voice(2), SEED[OLD]), [embedding_of(voice(person), SEED[OLD]) for person in (2, 3)]
    assert cosine(old, probes[1]) < 0.75 < cosine(old, probes[0])  # the old version's threshold is in between
    with pytest.raises(DiffersFromSubjectError, match="File 2 of 2"):
        verifier.enroll(TENANT, "voice", "p2", [sample(2, 1), sample(3, 1)])
    left = verifier.enroll(TENANT, "voice", "p2", [sample(3, 1), sample(2, 1)], rules=EnrolmentRules(skips_bad=True))
    assert [(one.file, type(one.error)) for one in left.skipped] == [(1, DiffersFromSubjectError)]
    assert left.template_count == 1
    forced = verifier.enroll(TENANT, "voice", "p1", [sample(3, 1)], rules=EnrolmentRules(must_agree=False))
    assert forced.template_count == 1


@pytest.mark.parametrize("dim", [None, 4])
def test_verify_answers_by_the_newest_version_that_the_subject_has(verifier: Verifier, dim: int | None):
    reenrol(verifier, 1)
    for person, take, version in ((1, 1, NEW), (2, 0, OLD)):
        found = verifier.verify(TENANT, "voice", f"p{person}", sample(5), dim, 1e-2)
        seed = SEED[version]
        expected = cosine(embedding_of(voice(person, take), seed), embedding_of(voice(5), seed), dim or 8)
        assert (found.manifest.version, found.dim) == (version, dim or 8)
        assert found.decision.similarity == pytest.approx(expected, abs=5e-5)
        assert found.decision.threshold.value == pytest.approx(0.80 if version == NEW else 0.90)


def test_dim_that_the_version_of_a_subject_lacks_is_refused_by_its_name(verifier: Verifier):
    reenrol(verifier, 1)
    assert verifier.verify(TENANT, "voice", "p1", sample(1), 2, 1e-2).dim == 2
    for call in (
        lambda: verifier.verify(TENANT, "voice", "p2", sample(2), 2, 1e-2),
        lambda: verifier.identify(TENANT, "voice", sample(2), 5, 2, 1e-2),
    ):
        with pytest.raises(UntrainedDimError, match=r"voice 1\.0\.0 .* 4, 8"):
            call()
    reenrol(verifier, *PEOPLE, take=2)
    assert verifier.identify(TENANT, "voice", sample(2), 5, 2, 1e-2).dim == 2  # nobody is left who needs the old one


@pytest.mark.parametrize("dim", [None, 4])
@pytest.mark.parametrize("person", [1, 4, 50])
def test_identify_searches_each_version_on_its_own_scale(verifier: Verifier, dim: int | None, person: int):
    again = (1, 2, 3)
    reenrol(verifier, *again)
    found = verifier.identify(TENANT, "voice", sample(person, 9), 10, dim, 2e-2)
    fmr = fmr_for_fpir(2e-2, 6)
    manifests = {v.manifest.version: v.manifest for v in verifier.versions(TENANT)}
    thresholds = {
        v: threshold_at(m.output(EmbeddingOutput).per_dim[str(dim or 8)], 1, fmr).value for v, m in manifests.items()
    }
    expected = []
    for other in PEOPLE:
        version, take = (NEW, 1) if other in again else (OLD, 0)
        probe = embedding_of(voice(person, 9), SEED[version])
        similarity = cosine(embedding_of(voice(other, take), SEED[version]), probe, dim or 8)
        expected.append((similarity - thresholds[version], f"p{other}", version, similarity))
    expected.sort(reverse=True)
    assert [c.subject_id for c in found.candidates] == [name for _, name, _, _ in expected]
    for candidate, (margin, _, version, similarity) in zip(found.candidates, expected, strict=True):
        assert candidate.manifest.version == version
        assert candidate.similarity == pytest.approx(similarity, abs=5e-5)
        assert candidate.threshold.value == pytest.approx(thresholds[version], abs=1e-12)
        assert candidate.margin == pytest.approx(margin, abs=5e-5)
    assert found.gallery_size == 6
    assert found.match == (expected[0][1] if expected[0][0] >= 0 else None)
    assert (found.manifest.version, found.threshold) == (expected[0][2], found.candidates[0].threshold)
    assert len(verifier.identify(TENANT, "voice", sample(person, 9), 2, dim, 2e-2).candidates) == 2


def test_share_of_impostors_named_holds_over_all_versions_together(verifier: Verifier):
    """Every comparison has one chance to be false, of whichever version it is; together they keep max_fpir."""
    reenrol(verifier, 1, 2)
    found = verifier.identify(TENANT, "voice", sample(50), 10, None, 0.05)
    rate = fmr_for_fpir(0.05, found.gallery_size)
    assert 1 - (1 - rate) ** 2 * (1 - rate) ** 4 == pytest.approx(0.05)


def test_deleting_the_last_new_template_brings_the_old_version_back_and_deleting_the_subject_nothing(
    verifier: Verifier,
):
    (template_id,) = reenrol(verifier, 1)
    verifier.delete_template(TENANT, template_id)
    assert state(verifier) == [(NEW, True, 0, 6), (OLD, False, 6, 6)]
    assert verifier.verify(TENANT, "voice", "p1", sample(1), None, 1e-2).manifest.version == OLD
    reenrol(verifier, 1)
    for template in verifier.subject(TENANT, "p1").templates:
        if template.version == OLD:
            verifier.delete_template(TENANT, template.template_id)
    assert state(verifier) == [(NEW, True, 1, 5), (OLD, False, 5, 5)]
    verifier.delete_subject(TENANT, "p1")
    verifier.delete_subject(TENANT, "p2")
    assert state(verifier) == [(NEW, True, 0, 4), (OLD, False, 4, 4)]
    found = verifier.identify(TENANT, "voice", sample(1), 10, None, 1e-2)
    assert {c.subject_id for c in found.candidates} == {"p3", "p4", "p5", "p6"}
    with pytest.raises(UnknownSubjectError):
        verifier.verify(TENANT, "voice", "p2", sample(2), None, 1e-2)


def test_verifier_opened_again_has_each_subject_in_one_version(folder: Path):
    def answers(verifier: Verifier) -> list[object]:
        found = verifier.identify(TENANT, "voice", sample(50), 10, None, 1e-2)
        return [state(verifier), found.gallery_size, [(c.subject_id, c.manifest.version) for c in found.candidates]]

    with opened_verifier(small_settings(folder)) as verifier:
        verifier.load()
        reenrol(verifier, 2, 5)
        before = answers(verifier)
    with opened_verifier(small_settings(folder)) as verifier:
        verifier.load()
        assert answers(verifier) == before


def test_without_the_old_bundle_its_subjects_are_counted_and_never_compared(folder: Path, tmp_path: Path):
    write_bundle(tmp_path / "after" / "voice", version=NEW, seed=SEED[NEW])
    with opened_verifier(small_settings(folder, models_dir=tmp_path / "after")) as verifier:
        verifier.load()
        assert state(verifier) == [(NEW, True, 0, 6)]
        with pytest.raises(OtherVersionError, match=OLD):
            verifier.verify(TENANT, "voice", "p1", sample(1), None, 1e-2)
        assert verifier.identify(TENANT, "voice", sample(1), 5, None, 1e-2).candidates == []
        reenrol(verifier, 1)
        verifier.delete_subject(TENANT, "p2")
        assert verifier.subjects_to_reenroll() == {"voice": 4}


def test_going_back_to_the_old_version_finds_everybody_again(folder: Path, tmp_path: Path):
    with opened_verifier(small_settings(folder)) as verifier:
        verifier.load()
        reenrol(verifier, 1, 2)
        verifier.enroll(TENANT, "voice", "fresh", [sample(9)])
    with opened_verifier(small_settings(folder, models_dir=tmp_path / "before")) as verifier:
        verifier.load()
        assert state(verifier) == [(OLD, True, 6, 1)]
        assert verifier.verify(TENANT, "voice", "p1", sample(1), None, 1e-2).decision.similarity > 0.999


def test_similar_subjects_of_an_enrolment_are_of_the_current_version(verifier: Verifier):
    verifier.enroll(TENANT, "voice", "first", [sample(9)])
    (similar,) = verifier.enroll(TENANT, "voice", "second", [sample(9)]).similar_subjects
    assert similar.subject_id == "first"


def seen(*box: float) -> FaceFinding:
    return FaceFinding(Face(np.asarray(box, np.float32), np.zeros((5, 2), np.float32), 0.99), None)


def test_counterpart_of_a_face_is_the_one_whose_box_overlaps_by_half():
    faces = [seen(0, 0, 10, 10), seen(100, 0, 110, 10)]
    assert counterpart(faces, seen(101, 1, 111, 11), 0) == 1  # 81 of 119
    assert counterpart(faces, seen(104, 0, 114, 10), 0) is None  # 60 of 140
    assert counterpart(faces, seen(50, 0, 60, 10), 0) is None
    assert counterpart([], seen(0, 0, 10, 10), 0) is None


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_counterpart_of_several_faces_that_overlap_is_the_one_that_overlaps_most(order: tuple[int, ...]):
    # 80 of 120, 90 of 110 and 60 of 100 square pixels
    near = [seen(2, 0, 12, 10), seen(1, 0, 11, 10), seen(0, 0, 6, 10)]
    assert counterpart([near[place] for place in order], seen(0, 0, 10, 10), 0) == order.index(1)


def test_counterpart_of_an_aligned_picture_is_the_one_that_the_other_version_read_aligned():
    aligned = FaceFinding(None, None)
    assert counterpart([aligned], aligned, 0) == 0
    assert counterpart([seen(0, 0, 10, 10)], aligned, 0) is None
    assert counterpart([aligned], seen(0, 0, 10, 10), 0) is None


def test_counterpart_of_what_tells_nothing_is_that_of_its_number():
    assert counterpart([None, None], None, 1) == 1
    assert counterpart([None], None, 1) is None


def test_prune_removes_what_was_superseded_and_nothing_else(folder: Path):
    with opened_verifier(small_settings(folder)) as verifier:
        verifier.load()
        reenrol(verifier, 1, 2)
        old = [t.template_id for p in ("p1", "p2") for t in verifier.subject(TENANT, p).templates if t.version == OLD]
    variables = {"MATCHKA_MODELS_DIR": str(folder / "models"), "MATCHKA_DATA_DIR": str(folder / "data")}
    status = CliRunner().invoke(app, ["gallery", "status", "--json"], env=variables)
    assert json.loads(status.stdout)["subjects_to_reenroll"] == {TENANT: {"voice": 4}}
    assert (
        "4 subjects of default have to enrol again with voice"
        in CliRunner().invoke(app, ["gallery", "status"], env=variables).stdout
    )
    pruned = CliRunner().invoke(app, ["gallery", "prune", "voice", "--json"], env=variables)
    assert json.loads(pruned.stdout) == {"model": "voice", "current": NEW, "removed": 2}
    deletions_file = folder / "deletions.jsonl"
    assert CliRunner().invoke(app, ["gallery", "ledger", str(deletions_file)], env=variables).exit_code == 0
    assert {json.loads(line)["template_id"] for line in deletions_file.read_text().splitlines()} == set(old)
    with opened_verifier(small_settings(folder)) as verifier:
        verifier.load()
        assert state(verifier) == [(NEW, True, 2, 4), (OLD, False, 4, 4)]
        assert [t.version for t in verifier.subject(TENANT, "p1").templates] == [NEW]
        assert [t.version for t in verifier.subject(TENANT, "p3").templates] == [OLD]


def test_both_versions_over_http_say_who_has_to_enrol_again(folder: Path):
    server = start(folder / "models", folder / "data")
    try:
        client = server.client()
        client.enroll("p1", [sample(1, 1)])
        ready = requests.get(f"{server.url}/readyz", timeout=120).json()
        assert ready == {"status": "ready", "subjects_to_reenroll": {"voice": 5}}
        listed = [(m.name, m.version, m.current, m.subjects, m.subjects_to_reenroll) for m in client.models().models]
        assert listed == [("voice", NEW, True, 1, 5), ("voice", OLD, False, 5, 5)]
        assert client.verify("p1", sample(1)).version == NEW
        assert client.verify("p2", sample(2)).version == OLD
        found = client.identify(sample(2))
        assert (found.match, found.version, found.gallery_size) == ("p2", OLD, 6)
        assert {c.subject_id: c.version for c in found.candidates if c.subject_id in ("p1", "p2")}["p2"] == OLD
        for candidate in found.candidates:
            assert candidate.threshold == pytest.approx(found.threshold) or candidate.version != found.version
        assert gallery_sizes(client.metrics()) == {(TENANT, "voice"): 6}
    finally:
        assert stop(server.process) == 0


def test_two_versions_of_which_neither_is_current_stop_the_start_with_the_remedy(tmp_path: Path):
    write_old(tmp_path / "models" / "one")
    write_bundle(tmp_path / "models" / "two", version=NEW)
    server = start(tmp_path / "models", tmp_path / "data", None, wait=False, variables={})
    assert server.process.wait(60) == 2
    said = server.log.read_text()
    assert "which version of voice is current" in said
    assert "Name the folder of the current one voice" in said
    assert json.loads((tmp_path / "models" / "two" / "manifest.json").read_text())["version"] == NEW
