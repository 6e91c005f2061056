"""Galleries in Milvus that two replicas share: resumed, rebuilt, corrected, and done without while it is away."""

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from matchka.app import opened_verifier
from matchka.client import calls
from matchka.errors import GalleryUnavailableError, RequestFailedError, SettingsError
from matchka.gallery.milvus.galleries import MilvusGalleries
from matchka.settings import FeedSettings, MilvusSettings, Settings
from matchka.store.key_store.master_key import create_key_file
from matchka.tasks.embedding.following.galleries import ServedGalleries
from matchka.tasks.embedding.following.rebuilding import VersionsByName, rebuild
from matchka.tasks.embedding.following.remembered import SecondApplication
from matchka.tasks.embedding.verifier import Verifier
from tests.factories.bundles import VERSION, write_bundle
from tests.factories.milvus import TIMEOUT_S, LiteServer, lite_server, needs_milvus
from tests.factories.samples import sample
from tests.factories.small_server import serving, small_settings
from tests.factories.vaults import VaultFolder

pytestmark = [needs_milvus, pytest.mark.slow]
TENANT = "default"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LiteServer]:
    with lite_server(tmp_path / "lite.db") as running:
        yield running


def settings_of(folder: Path, server: LiteServer, name: str = "data", timeout_s: float = TIMEOUT_S) -> Settings:
    if not (folder / "models").exists():
        write_bundle(folder / "models" / "voice")
    return small_settings(
        folder,
        data_dir=folder / name,
        database_url=f"sqlite:///{folder / 'store.sqlite'}",
        gallery="milvus",
        milvus=MilvusSettings(uri=server.uri, timeout_s=timeout_s),
        feed=FeedSettings(wait_s=TIMEOUT_S),
    )


@contextlib.contextmanager
def replica(settings: Settings) -> Iterator[Verifier]:
    with opened_verifier(settings) as verifier:
        verifier.load()
        yield verifier


def enrol(verifier: Verifier, name: str, person: int) -> None:
    verifier.enroll(TENANT, "voice", name, [sample(person, 0)])


def names(verifier: Verifier, person: int) -> list[str]:
    return [one.subject_id for one in verifier.identify(TENANT, "voice", sample(person, 1), 5, None, 1e-2).candidates]


def wait_until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + TIMEOUT_S
    while not holds():
        assert time.monotonic() < end, "it never came about"
        time.sleep(0.01)


def test_galleries_of_two_replicas_are_the_same_and_the_second_fills_nothing(tmp_path: Path, server: LiteServer):
    with replica(settings_of(tmp_path, server, "a")) as here:
        for person in range(4):
            enrol(here, f"p{person}", person)
        with replica(settings_of(tmp_path, server, "b")) as there:
            assert there.following.filled == 0
            for person in range(4):
                assert names(there, person)[0] == f"p{person}"
            enrol(there, "late", 7)
            here.wait_for(there.position)
            assert names(here, 7)[0] == "late"
            here.delete_subject(TENANT, "p1")
            assert "p1" not in names(there, 1)
            wait_until(lambda: there.gallery_sizes() == {(TENANT, "voice"): 4})
    with replica(settings_of(tmp_path, server, "a")) as again:
        assert again.following.filled == 0
        assert names(again, 7)[0] == "late"
        assert "p1" not in names(again, 1)


def test_store_that_takes_the_galleries_of_another_is_told_of_prefixes(
    tmp_path: Path, server: LiteServer, caplog: pytest.LogCaptureFixture
):
    for name in ("ada", "eve"):  # the second resumes what the first has left
        with replica(settings_of(tmp_path, server)) as one:
            enrol(one, name, 1)
    assert "MATCHKA_MILVUS__PREFIX" not in caplog.text
    other = settings_of(tmp_path, server, "other").model_copy(
        update={"database_url": f"sqlite:///{tmp_path / 'other.sqlite'}"}
    )
    with replica(other) as another:
        assert names(another, 1) == []
    assert "each needs one of its own" in caplog.text


def test_older_reference_written_late_is_in_no_answer_and_is_corrected_by_the_second_application(
    tmp_path: Path, server: LiteServer
):
    with replica(settings_of(tmp_path, server)) as verifier:
        enrol(verifier, "ada", 1)
        enrol(verifier, "bob", 2)
        expected = verifier.identify(TENANT, "voice", sample(1, 1), 2, None, 1e-2).candidates
        (key,) = [hit.subject_key for hit in own_gallery(verifier).search(reference(verifier, "ada"), 8, 1)]
        verifier.delete_subject(TENANT, "bob")
        # what a slow process has read before
        gallery = own_gallery(verifier)
        gallery.put([key, key + 1], np.stack([reference(verifier, "ada") + 0.5, -reference(verifier, "ada")]))
        assert gallery.count_of([key, key + 1]) == 2
        found = verifier.identify(TENANT, "voice", sample(1, 1), 2, None, 1e-2).candidates
        assert [(one.subject_id, one.similarity) for one in found] == [("ada", expected[0].similarity)]
        with verifier._follower.applying, verifier._store.feed.look() as look:
            second = verifier._galleries._second
            second._again_s = 0.0
            for _ in range(2):  # what was applied once by now is due in the next round but one
                verifier._galleries.settle(look, look.state())
        assert gallery.count_of([key, key + 1]) == 1
        (hit,) = gallery.search(reference(verifier, "ada"), 8, 5)
        assert hit.subject_key == key
        assert hit.similarity == pytest.approx(1, abs=1e-5)


def own_gallery(verifier: Verifier):
    return verifier._galleries.of(TENANT, verifier.models.current("voice"))


def reference(verifier: Verifier, name: str) -> np.ndarray:
    return verifier._store.reference(TENANT, name, "voice", VERSION).embedding


def test_second_application_is_due_a_minute_after_the_first_and_again_a_minute_later():
    clock = [0.0]
    second = SecondApplication(lambda: clock[0], again_s=60.0)
    assert second.due() is None
    first, later, last = object(), object(), object()
    second.begin(first)
    clock[0] = 59.0
    assert second.due() is None
    clock[0] = 60.0
    assert second.due() == (first, first)
    second.note(later)
    clock[0] = 119.0
    assert second.due() is None
    clock[0] = 120.0
    assert second.due() == (first, later)
    second.note(last)
    clock[0] = 180.0
    assert second.due() == (later, last)


def test_rebuild_beside_a_running_replica_takes_its_place_without_a_gap(tmp_path: Path, server: LiteServer):
    settings = settings_of(tmp_path, server)
    done: list[int] = []
    with replica(settings) as serving_one:
        for person in range(4):
            enrol(serving_one, f"p{person}", person)
        before = own_gallery(serving_one)._collection
        with opened_verifier(settings_of(tmp_path, server, "b")) as other:
            models = VersionsByName(other.models)
            galleries = ServedGalleries(models, other._store, other._galleries._backend)
            enrol(serving_one, "meanwhile", 6)
            report = rebuild(galleries, other._store.feed, done.append, grace_s=0.0)
        enrol(serving_one, "after", 7)
        wait_until(lambda: own_gallery(serving_one)._collection != before)
        assert serving_one.following.filled == 0
        for person, name in ((0, "p0"), (6, "meanwhile"), (7, "after")):
            assert names(serving_one, person)[0] == name
        assert done[-1] == report.references == 5


@pytest.mark.parametrize("moment", ["filling", "finishing"])
def test_rebuild_that_is_interrupted_leaves_what_there_was(
    tmp_path: Path, server: LiteServer, monkeypatch: pytest.MonkeyPatch, moment: str
):
    settings = settings_of(tmp_path, server)

    def interrupt(*_of: object) -> None:
        raise KeyboardInterrupt

    with replica(settings) as serving_one:
        enrol(serving_one, "ada", 1)
        connection = own_gallery(serving_one)._connection
        before = connection.read(lambda client, limit_s: client.list_collections(timeout=limit_s))
        with opened_verifier(settings_of(tmp_path, server, "b")) as other:
            galleries = ServedGalleries(VersionsByName(other.models), other._store, other._galleries._backend)
            if moment == "finishing":
                monkeypatch.setattr(MilvusGalleries, "finish", interrupt)
            with pytest.raises(KeyboardInterrupt):
                rebuild(galleries, other._store.feed, interrupt if moment == "filling" else print, grace_s=0.0)
        assert connection.read(lambda client, limit_s: client.list_collections(timeout=limit_s)) == before
        assert names(serving_one, 1)[0] == "ada"


def test_milvus_away_or_hanging_is_told_and_verify_goes_on_and_all_is_well_when_it_is_back(
    tmp_path: Path, server: LiteServer
):
    with serving(settings_of(tmp_path, server, timeout_s=1.0).model_copy(update={"feed": FeedSettings()})) as running:
        client = running.client(timeout_s=TIMEOUT_S)

        def is_ready() -> None:
            client._send(calls.ready())

        client.enroll("ada", [sample(1, 0)])
        for disturb in (server.stop, server.hang):
            disturb()
            for call in (lambda: client.identify(sample(1, 1)), is_ready):
                wait_until(lambda call=call: code_of(call) == "gallery_unavailable")
            with pytest.raises(RequestFailedError) as refused:
                client.identify(sample(1, 1))
            assert refused.value.status == 503
            assert client.verify("ada", sample(1, 1)).match
        stored = client.enroll("bob", [sample(2, 0)])
        assert stored.similar_subjects is None
        assert client.metrics()
        server.start()
        wait_until(lambda: code_of(is_ready) is None)
        assert client.identify(sample(2, 1)).candidates[0].subject_id == "bob"


def code_of(call: Callable[[], object]) -> str | None:
    try:
        call()
    except RequestFailedError as error:
        return error.code
    return None


def test_service_whose_milvus_does_not_answer_at_the_start_says_so(tmp_path: Path, server: LiteServer):
    server.stop()
    with pytest.raises(GalleryUnavailableError), opened_verifier(settings_of(tmp_path, server, timeout_s=0.3)):
        pass


def test_encrypted_store_is_refused_galleries_in_clear_unless_they_are_accepted_by_name(
    tmp_path: Path, server: LiteServer
):
    folder = VaultFolder(tmp_path)
    create_key_file(folder.master)
    settings = settings_of(tmp_path, server).model_copy(update=folder.settings)
    with pytest.raises(SettingsError, match="MATCHKA_MILVUS__PLAINTEXT=accepted"), opened_verifier(settings):
        pass
    accepted = MilvusSettings(uri=server.uri, timeout_s=TIMEOUT_S, plaintext="accepted")
    with replica(settings.model_copy(update={"milvus": accepted})) as verifier:
        enrol(verifier, "ada", 1)
        assert names(verifier, 1) == ["ada"]


def test_milvus_without_an_address_is_refused(tmp_path: Path):
    write_bundle(tmp_path / "models" / "voice")
    settings = small_settings(tmp_path, gallery="milvus")
    with pytest.raises(SettingsError, match="MATCHKA_MILVUS__URI"), opened_verifier(settings):
        pass
