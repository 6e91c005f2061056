"""The Verifier with a real graph and a real store, against slow recomputation."""

import contextlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import make_url

from matchka.app import opened_verifier
from matchka.bundles.outputs.embedding import EmbeddingOutput
from matchka.errors import (
    BundleError,
    DataDirInUseError,
    DeadlinePassedError,
    DuplicateSampleError,
    InvalidFieldError,
    MatchkaError,
    NotAudioError,
    NotEnrolledError,
    OtherVersionError,
    StoreError,
    UnknownModelError,
    UnknownSubjectError,
    UnknownTemplateError,
    UntrainedDimError,
)
from matchka.runtime.deadline import Deadline, working_for
from matchka.settings import Settings
from matchka.tasks.embedding.thresholds import fmr_for_fpir, threshold_at
from matchka.tasks.embedding.verifier import Verifier
from tests.factories.bundles import CALIBRATION, DIMS, POINTS, VERSION, write_bundle, write_fusion
from tests.factories.databases import UnderTest
from tests.factories.samples import encoded, sample, voice
from tests.factories.slow_embedding import cosine, embedding_of
from tests.factories.small_server import small_settings

TENANT = "default"


@pytest.fixture
def settings(tmp_path: Path, database: UnderTest) -> Settings:
    """Settings with one bundle, and a store in a database of each kind."""
    write_bundle(tmp_path / "models" / "voice")
    return small_settings(tmp_path, database_url=database.url)


@pytest.fixture
def verifier(settings: Settings) -> Iterator[Verifier]:
    with opened_verifier(settings) as opened:
        opened.load()
        yield opened


def mean_of(person: int, *takes: int) -> np.ndarray:
    return np.sum([embedding_of(voice(person, take)) for take in takes], axis=0) / len(takes)


def enrol(verifier: Verifier, person: int, *takes: int, tenant: str = TENANT) -> tuple[str, ...]:
    return verifier.enroll(tenant, "voice", f"p{person}", [sample(person, take) for take in takes]).template_ids


@pytest.mark.parametrize("dim", [None, *DIMS])
def test_embed_at_each_dim_is_the_prefix_of_the_slow_embedding_at_unit_length(verifier: Verifier, dim: int | None):
    found = verifier.embed("voice", [sample(1), sample(2)], dim)
    assert found.dim == (dim or 8)
    for row, person in zip(found.vectors, (1, 2), strict=True):
        prefix = embedding_of(voice(person))[:dim]
        np.testing.assert_allclose(row, prefix / np.sqrt(prefix @ prefix), atol=5e-5)


@pytest.mark.parametrize("dim", DIMS)
def test_verify_compares_with_the_mean_of_the_templates(verifier: Verifier, dim: int):
    enrol(verifier, 1, 0, 1)
    enrol(verifier, 1, 2)
    for person, take in ((1, 5), (2, 0)):
        found = verifier.verify(TENANT, "voice", "p1", sample(person, take), dim, 1e-2)
        expected = cosine(mean_of(1, 0, 1, 2), embedding_of(voice(person, take)), dim)
        assert found.decision.similarity == pytest.approx(expected, abs=5e-5)
        assert found.decision.threshold.value == pytest.approx(POINTS["3"][1][1])  # three templates
        assert found.decision.match == (expected >= POINTS["3"][1][1])
        scale, offset = CALIBRATION["3"]
        posterior = 1 / (1 + np.exp(-(scale * expected + offset)))
        assert found.decision.probability == pytest.approx(posterior, abs=1e-3)
    assert (found.dim, found.max_fmr, found.manifest.name) == (dim, 1e-2, "voice")


def test_compare_of_two_samples_uses_the_point_of_one_template_and_stores_nothing(verifier: Verifier):
    found = verifier.compare("voice", sample(1), sample(2), 4, 1e-1)
    assert found.decision.similarity == pytest.approx(
        cosine(embedding_of(voice(1)), embedding_of(voice(2)), 4), abs=5e-5
    )
    assert found.decision.threshold.value == pytest.approx(POINTS["1"][0][1], abs=1e-12)
    assert verifier.subjects(TENANT, 10, None) == []
    same = verifier.compare("voice", sample(1), sample(1), None, 1e-3)
    assert same.decision.match
    assert same.decision.similarity == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("dim", DIMS)
def test_identify_lists_the_gallery_as_brute_force_does(verifier: Verifier, dim: int):
    for person in range(1, 9):
        enrol(verifier, person, *range(1 + person % 3))
    enrol(verifier, 77, 0, tenant="other")
    references = {f"p{person}": mean_of(person, *range(1 + person % 3)) for person in range(1, 9)}
    for person in (3, 50):
        probe = embedding_of(voice(person, 9))
        found = verifier.identify(TENANT, "voice", sample(person, 9), 5, dim, 1e-2)
        expected = sorted(((cosine(ref, probe, dim), name) for name, ref in references.items()), reverse=True)[:5]
        np.testing.assert_allclose([c.similarity for c in found.candidates], [s for s, _ in expected], atol=5e-5)
        assert [c.subject_id for c in found.candidates] == [name for _, name in expected]
        assert found.gallery_size == 8
        count = 1 + int(expected[0][1][1:]) % 3
        threshold = threshold_at(
            found.manifest.output(EmbeddingOutput).per_dim[str(dim)], count, fmr_for_fpir(1e-2, 8)
        ).value
        assert found.threshold.value == pytest.approx(threshold, abs=1e-12)
        assert found.match == (expected[0][1] if expected[0][0] >= threshold else None)


def test_identify_in_an_empty_gallery_finds_nobody(verifier: Verifier):
    found = verifier.identify(TENANT, "voice", sample(1), 5, None, 1e-2)
    assert (found.match, found.candidates, found.gallery_size) == (None, [], 0)


def test_enroll_with_one_bad_sample_stores_none_of_them(verifier: Verifier):
    enrol(verifier, 1, 0)
    for subject in ("p1", "new"):
        with pytest.raises(NotAudioError, match="File 2 of 3"):
            verifier.enroll(TENANT, "voice", subject, [sample(1), b"no audio", sample(1, 1)])
    assert [(s.subject_id, s.template_count) for s in verifier.subjects(TENANT, 10, None)] == [("p1", 1)]
    found = verifier.verify(TENANT, "voice", "p1", sample(1), None, 1e-3)
    assert found.decision.similarity == pytest.approx(1.0, abs=1e-6)
    assert verifier.gallery_sizes() == {(TENANT, "voice"): 1}


@pytest.mark.parametrize(("held", "sent"), [((), (0, 0)), ((0,), (0,)), ((0, 1), (2, 3, 1)), ((), (1, 2, 1))])
def test_enroll_of_a_duplicate_stores_none_of_the_call(
    verifier: Verifier, held: tuple[int, ...], sent: tuple[int, ...]
):
    if held:
        enrol(verifier, 1, *held)
    with pytest.raises(DuplicateSampleError):
        enrol(verifier, 1, *sent)
    if held:
        assert len(verifier.subject(TENANT, "p1").templates) == len(held)
        found = verifier.verify(TENANT, "voice", "p1", sample(1, 9), None, 1e-2).decision.similarity
        assert found == pytest.approx(cosine(mean_of(1, *held), embedding_of(voice(1, 9))), abs=1e-5)
    else:
        with pytest.raises(UnknownSubjectError):
            verifier.subject(TENANT, "p1")


def test_enroll_of_one_sample_is_no_duplicate_for_another_subject_or_tenant_or_after_its_deletion(verifier: Verifier):
    (template_id,) = enrol(verifier, 1, 0)
    enrol(verifier, 1, 0, tenant="other")
    verifier.enroll(TENANT, "voice", "somebody else", [sample(1, 0)])
    enrol(verifier, 1, 1)
    verifier.delete_template(TENANT, template_id)
    enrol(verifier, 1, 0)
    assert len(verifier.subject(TENANT, "p1").templates) == 2


def test_enroll_of_one_sample_from_many_threads_is_stored_once(verifier: Verifier):
    refused: list[DuplicateSampleError] = []
    together = threading.Barrier(8)

    def work() -> None:
        together.wait()
        try:
            enrol(verifier, 1, 0)
        except DuplicateSampleError as error:
            refused.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 7
    assert len(verifier.subject(TENANT, "p1").templates) == 1


def test_enroll_of_the_same_clip_under_another_name_reports_the_first_and_never_itself(verifier: Verifier):
    files = [sample(1, 0)]
    assert verifier.enroll(TENANT, "voice", "first", files).similar_subjects == []
    (similar,) = verifier.enroll(TENANT, "voice", "second", files).similar_subjects
    assert similar.subject_id == "first"
    assert similar.similarity == pytest.approx(1.0, abs=1e-6)
    # the opposite tenant knows nothing of them
    assert verifier.enroll("other", "voice", "third", files).similar_subjects == []


def test_delete_subject_takes_it_out_of_every_answer(verifier: Verifier):
    enrol(verifier, 1, 0)
    enrol(verifier, 2, 0)
    for dim in DIMS:
        assert verifier.identify(TENANT, "voice", sample(1), 5, dim, 1e-2).candidates[0].subject_id == "p1"
    verifier.delete_subject(TENANT, "p1")
    for dim in DIMS:
        found = verifier.identify(TENANT, "voice", sample(1), 5, dim, 1e-2)
        assert [c.subject_id for c in found.candidates] == ["p2"]
        assert found.gallery_size == 1
    with pytest.raises(UnknownSubjectError):
        verifier.verify(TENANT, "voice", "p1", sample(1), None, 1e-3)
    with pytest.raises(UnknownSubjectError):
        verifier.delete_subject(TENANT, "p1")


def test_delete_template_leaves_the_mean_of_the_rest_in_verify_and_identify(verifier: Verifier):
    ids = enrol(verifier, 1, 0, 1, 2)
    verifier.delete_template(TENANT, ids[0])
    for dim in DIMS:
        expected = cosine(mean_of(1, 1, 2), embedding_of(voice(4)), dim)
        verified = verifier.verify(TENANT, "voice", "p1", sample(4), dim, 1e-2)
        identified = verifier.identify(TENANT, "voice", sample(4), 1, dim, 1e-2)
        assert verified.decision.similarity == pytest.approx(expected, abs=5e-5)
        assert identified.candidates[0].similarity == pytest.approx(expected, abs=5e-5)
    for template_id in ids[1:]:
        verifier.delete_template(TENANT, template_id)
    assert verifier.identify(TENANT, "voice", sample(1), 5, None, 1e-2).candidates == []
    assert verifier.gallery_sizes() == {(TENANT, "voice"): 0}
    with pytest.raises(UnknownTemplateError):
        verifier.delete_template(TENANT, ids[0])


def test_tenants_see_nothing_of_each_other(verifier: Verifier):
    ids = enrol(verifier, 1, 0)
    assert verifier.identify("other", "voice", sample(1), 5, None, 1e-2).gallery_size == 0
    assert verifier.subjects("other", 10, None) == []
    for call in (
        lambda: verifier.verify("other", "voice", "p1", sample(1), None, 1e-3),
        lambda: verifier.subject("other", "p1"),
        lambda: verifier.delete_subject("other", "p1"),
        lambda: verifier.delete_template("other", ids[0]),
    ):
        with pytest.raises((UnknownSubjectError, UnknownTemplateError)):
            call()
    assert len(verifier.subject(TENANT, "p1").templates) == 1


def test_verifier_opened_again_answers_as_before(settings: Settings):
    def answers(verifier: Verifier) -> list[object]:
        found = [verifier.identify(TENANT, "voice", sample(9), 10, dim, 1e-2) for dim in DIMS]
        return [[(c.subject_id, pytest.approx(c.similarity, abs=1e-6)) for c in f.candidates] for f in found] + [
            f.gallery_size for f in found
        ]

    with opened_verifier(settings) as verifier:
        verifier.load()
        for person in range(1, 6):
            enrol(verifier, person, *range(person))
        verifier.delete_subject(TENANT, "p2")
        verifier.delete_template(TENANT, verifier.subject(TENANT, "p3").templates[1].template_id)
        before = answers(verifier)
    with opened_verifier(settings) as verifier:
        verifier.load()
        assert answers(verifier) == before
        assert verifier.subjects(TENANT, 10, None)[0].template_count == 1


def models_with_stale_fusion(folder: Path, face_version: str) -> Settings:
    """Two bundles, and a fusion that was learned with another report of the second."""
    bundles = {name: write_bundle(folder / "models" / name, name) for name in ("voice", "face")}
    voice_report = json.loads((bundles["voice"] / "manifest.json").read_text())["files"]["report.json"]
    reports, models = {"voice": voice_report, "face": "0" * 64}, {"voice": VERSION, "face": face_version}
    write_fusion(folder / "models" / "voice+face", models=models, reports=reports)
    return small_settings(folder)


def test_verifier_beside_a_fusion_of_other_measurements_is_refused_and_says_what_to_run(tmp_path: Path):
    settings = models_with_stale_fusion(tmp_path, VERSION)
    with pytest.raises(BundleError, match="other measurements of face") as refused, opened_verifier(settings):
        pass
    assert "matchka-export defaults" in refused.value.remedy


def test_verifier_beside_a_fusion_of_another_version_leaves_it_out(tmp_path: Path):
    settings = models_with_stale_fusion(tmp_path, "0.9.0")
    with opened_verifier(settings) as opened, pytest.raises(UnknownModelError):
        opened.verify_jointly(TENANT, "voice+face", "p1", {}, 1e-3, 1e-2)


def test_templates_of_another_version_are_neither_compared_nor_searched(tmp_path: Path):
    write_bundle(tmp_path / "models" / "voice", version="1.0.0")
    with opened_verifier(small_settings(tmp_path)) as old:
        old.load()
        ids = enrol(old, 1, 0)
    write_bundle(tmp_path / "newer" / "voice", version="2.0.0", seed=8)
    with opened_verifier(small_settings(tmp_path, models_dir=tmp_path / "newer")) as new:
        new.load()
        with pytest.raises(OtherVersionError, match=r"1\.0\.0"):
            new.verify(TENANT, "voice", "p1", sample(1), None, 1e-3)
        assert new.identify(TENANT, "voice", sample(1), 5, None, 1e-2).candidates == []
        enrol(new, 1, 3)
        found = new.verify(TENANT, "voice", "p1", sample(1), None, 1e-3)
        expected = cosine(embedding_of(voice(1, 3), seed=8), embedding_of(voice(1), seed=8))
        assert found.decision.similarity == pytest.approx(expected, abs=5e-5)
        assert len(new.subject(TENANT, "p1").templates) == 2
        new.delete_template(TENANT, ids[0])
        assert new.identify(TENANT, "voice", sample(1), 5, None, 1e-2).gallery_size == 1


def test_two_models_keep_galleries_of_their_own_and_one_delete_empties_both(tmp_path: Path):
    write_bundle(tmp_path / "models" / "a", "voice", seed=1)
    write_bundle(tmp_path / "models" / "b", "other", seed=2)
    with opened_verifier(small_settings(tmp_path)) as verifier:
        verifier.load()
        assert [manifest.name for manifest in verifier.manifests] == ["other", "voice"]
        enrol(verifier, 1, 0)
        with pytest.raises(NotEnrolledError):
            verifier.verify(TENANT, "other", "p1", sample(1), None, 1e-3)
        verifier.enroll(TENANT, "other", "p1", [sample(1, 1)])
        for name, take, seed in (("voice", 0, 1), ("other", 1, 2)):
            found = verifier.verify(TENANT, name, "p1", sample(2), None, 1e-3)
            expected = cosine(embedding_of(voice(1, take), seed), embedding_of(voice(2), seed))
            assert found.decision.similarity == pytest.approx(expected, abs=5e-5)
        verifier.delete_subject(TENANT, "p1")
        assert set(verifier.gallery_sizes().values()) == {0}


@pytest.mark.parametrize(
    ("error", "model", "dim", "rate"),
    [
        (UnknownModelError, "face", None, 1e-2),
        (UntrainedDimError, "voice", 3, 1e-2),
        (InvalidFieldError, "voice", None, 0.0),
    ],
)
def test_every_call_refuses_unknown_models_untrained_dims_and_rates_that_are_none(
    verifier: Verifier, error: type[MatchkaError], model: str, dim: int | None, rate: float
):
    enrol(verifier, 1, 0)
    calls = [
        lambda: verifier.verify(TENANT, model, "p1", sample(1), dim, rate),
        lambda: verifier.compare(model, sample(1), sample(1), dim, rate),
        lambda: verifier.identify(TENANT, model, sample(1), 5, dim, rate),
    ]
    if error is not InvalidFieldError:
        calls.append(lambda: verifier.embed(model, [sample(1)], dim))
    for call in calls:
        with pytest.raises(error):
            call()


def test_enrolments_and_deletions_from_threads_leave_gallery_and_store_equal(verifier: Verifier):
    def file_of(person: int, take: int = 0) -> bytes:
        return encoded(voice(person, take, 0.6), subtype="FLOAT")

    def work(worker: int) -> None:
        for turn in range(4):
            for person in range(6):
                file = [file_of(person, 10 * worker + turn)]  # no subject is sent one sample twice
                name = f"s{(person + worker) % 6}"
                verifier.enroll(TENANT, "voice", name, file)
                if (person + turn + worker) % 2:
                    try:
                        verifier.delete_subject(TENANT, name)
                    except UnknownSubjectError:
                        continue

    threads = [threading.Thread(target=work, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stored = {s.subject_id for s in verifier.subjects(TENANT, 100, None)}
    found = verifier.identify(TENANT, "voice", file_of(0), 100, None, 1e-2)
    assert {c.subject_id for c in found.candidates} == stored
    assert found.gallery_size == len(stored)
    probe = embedding_of(voice(0, 0, 0.6))
    for candidate in found.candidates:
        verified = verifier.verify(TENANT, "voice", candidate.subject_id, file_of(0), None, 1e-2)
        assert verified.decision.similarity == pytest.approx(candidate.similarity, abs=1e-6)
        assert -1 <= cosine(probe, probe) * candidate.similarity <= 1.0


def test_change_that_does_not_get_its_turn_before_its_deadline_is_not_made(verifier: Verifier):
    enrol(verifier, 1, 0)
    turns = verifier._store._turns
    with contextlib.ExitStack() as others:
        for _ in range(turns.most):
            others.enter_context(turns.turn())
        with working_for(Deadline(0.05)), pytest.raises(DeadlinePassedError):
            verifier.delete_subject(TENANT, "p1")
    assert verifier.subject(TENANT, "p1").templates
    verifier.delete_subject(TENANT, "p1")


def test_data_folder_is_owned_by_one_verifier_and_free_again_after_it(settings: Settings):
    with opened_verifier(settings), pytest.raises(DataDirInUseError), opened_verifier(settings):
        pass
    with opened_verifier(settings):
        assert settings.data_dir.stat().st_mode & 0o077 == 0


def test_data_folder_that_cannot_be_made_is_refused(settings: Settings, tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    blocked = small_settings(tmp_path, data_dir=tmp_path / "file" / "data", models_dir=settings.models_dir)
    with pytest.raises(StoreError, match="cannot be written"), opened_verifier(blocked):
        pass


def test_start_removes_what_a_killed_restore_unpacked(settings: Settings):
    file = make_url(str(settings.database_url))
    is_file = file.get_backend_name() == "sqlite"
    place = Path(str(file.database)) if is_file else settings.data_dir / "matchka.sqlite"
    left = place.with_name(f".restoring-{place.name}-abc")
    left.mkdir(parents=True)
    (left / "matchka.sqlite").write_bytes(bytes(8))
    with opened_verifier(settings):
        assert not left.exists()
