"""An import goes in pieces: one that is killed is finished by the same command, and a service next to it goes on."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from matchka.errors import RestoreRefusedError
from matchka.store.engine import open_engine, reading
from matchka.store.integrity.check import check_store
from matchka.store.store import Store, opened_store
from matchka.store.transfer import export_reader
from matchka.store.transfer.exporter import write_export
from matchka.store.transfer.import_plan import Existing, ImportPlan, ImportReport
from matchka.store.transfer.importer import import_archive
from matchka.tasks.embedding.enrolment import EnrolmentRules
from tests.factories.checkout import ROOT
from tests.factories.databases import FileUnderTest, UnderTest
from tests.factories.replicas import PATIENCE_S, replicas
from tests.factories.samples import sample
from tests.factories.unit_vectors import unit_vectors

SUBJECTS = 12  # of two templates each
PIECE = 4  # templates
DIMS = {("voice", "1"): 4}
# imports its second argument into its first, and kills itself when three pieces are stored
KILLED = f"""
import os, sys
from pathlib import Path
from matchka.store.engine import open_engine
from matchka.store.transfer import export_reader, importer
from matchka.store.transfer.import_plan import ImportPlan

export_reader.TEMPLATES_AT_ONCE = {PIECE}
told = []

def progress(done, total):
    told.append(done)
    if told.count(done) == 2 and done == 3 * {PIECE}:
        os.kill(os.getpid(), 9)

plan = ImportPlan(Path(sys.argv[2]), existing=sys.argv[3])
importer.import_archive(open_engine(sys.argv[1]), plan, {DIMS}, lambda *_: None, progress)
"""


def ignore(_done: int, _total: int) -> None:
    """Nobody watches."""


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export_reader, "TEMPLATES_AT_ONCE", PIECE)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    with opened_store(f"sqlite:///{tmp_path / 'source.sqlite'}") as store:
        for number in range(SUBJECTS):
            store.add_templates("t", f"s{number:02d}", "voice", "1", unit_vectors(2, number, dim=4))
        export(store, tmp_path / "t.export", "t", "1")
    return tmp_path / "t.export"


def export(store: Store, target: Path, tenant: str, version: str) -> None:
    with reading(store.engines[0]) as session:
        write_export(session, target, tenant, "voice", version, ignore)


def imported(archive: Path, url: str, existing: Existing = "fail", progress: Callable = ignore) -> ImportReport:
    engine = open_engine(url)
    try:
        return import_archive(engine, ImportPlan(archive, existing=existing), DIMS, ignore, progress)
    finally:
        engine.dispose()


def subjects_of(database: UnderTest) -> list[str]:
    return [str(name) for (name,) in database.rows("SELECT subject_id FROM subjects ORDER BY subject_id")]


def require_agreement(url: str) -> None:
    engine = open_engine(url)
    with reading(engine) as session:
        assert check_store(session, ignore).findings == ()
    engine.dispose()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("existing", "counts"),
    [("fail", (6, 6, 0, 0)), ("skip", (6, 0, 6, 0)), ("replace", (12, 0, 0, 6))],
)
def test_import_that_was_killed_is_finished_by_the_same_command(
    archive: Path, database: UnderTest, existing: Existing, counts: tuple[int, ...]
):
    Store(database.url).close()
    command = [sys.executable, "-c", KILLED, database.url, archive, existing]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert subjects_of(database) == [f"s{number:02d}" for number in range(6)]
    require_agreement(database.url)
    report = imported(archive, database.url, existing)
    assert (report.subjects, report.present, report.skipped, report.replaced) == counts
    assert subjects_of(database) == [f"s{number:02d}" for number in range(SUBJECTS)]
    require_agreement(database.url)
    assert database.rows("SELECT count(*) FROM templates") == [(2 * SUBJECTS,)]
    assert database.rows("SELECT count(*) FROM deletions") == [(0,)]


def test_import_meets_a_subject_that_was_enrolled_meanwhile_and_leaves_it_alone(archive: Path, database: UnderTest):
    told: list[int] = []
    with opened_store(database.url) as service:

        def enrol(done: int, _total: int) -> None:
            told.append(done)
            if told.count(done) == 2 and done == 2 * PIECE:  # the second time: it was compared before
                service.add_templates("t", "s07", "voice", "1", unit_vectors(1, 99, dim=4))

        with pytest.raises(RestoreRefusedError, match="those before it are imported") as refused:
            imported(archive, database.url, progress=enrol)
    assert refused.value.value == "s07"
    assert subjects_of(database) == ["s00", "s01", "s02", "s03", "s04", "s05", "s07"]
    assert imported(archive, database.url, "skip").skipped == 7
    assert len(subjects_of(database)) == SUBJECTS
    assert database.rows("SELECT count(*) FROM templates") == [(2 * SUBJECTS - 1,)]
    require_agreement(database.url)


def test_subject_that_has_other_templates_as_well_stops_the_import_before_anything_is_stored(
    archive: Path, database: UnderTest
):
    with opened_store(database.url) as store:
        store.add_templates("t", "s11", "voice", "1", unit_vectors(1, 99, dim=4))
    with pytest.raises(RestoreRefusedError, match="nothing was imported") as refused:
        imported(archive, database.url)
    assert refused.value.value == "s11"
    assert subjects_of(database) == ["s11"]


def test_import_of_what_is_there_already_stores_nothing_twice(archive: Path, database: UnderTest):
    Store(database.url).close()
    assert imported(archive, database.url).subjects == SUBJECTS
    before = database.rows("SELECT * FROM templates ORDER BY template_id")
    report = imported(archive, database.url)
    assert (report.subjects, report.templates, report.present) == (0, 0, SUBJECTS)
    assert database.rows("SELECT * FROM templates ORDER BY template_id") == before


def test_service_next_to_an_import_enrols_between_its_pieces_and_identifies_whom_it_brought(
    tmp_path: Path, postgres_url: str
):
    rules = EnrolmentRules(tells_similar=False)
    source = FileUnderTest(tmp_path / "source.sqlite")
    with replicas(tmp_path, source.url) as another:
        verifier = another()
        for person in range(6):
            verifier.enroll("default", "voice", f"p{person}", [sample(person)], rules=rules)
        (template,) = verifier.subject("default", "p0").templates
        with opened_store(source.url) as store:
            export(store, tmp_path / "a.export", "default", template.version)
    ((size,),) = source.rows("SELECT max(length(embedding)) FROM templates")
    with replicas(tmp_path, postgres_url) as another:
        service = another()

        own: list[str] = []

        def enrol(_done: int, _total: int) -> None:
            own.append(f"own{len(own)}")
            service.enroll("default", "voice", own[-1], [sample(100 + len(own))], rules=rules)

        engine = open_engine(postgres_url)
        dims = {("voice", template.version): int(str(size)) // 4}
        assert import_archive(engine, ImportPlan(tmp_path / "a.export"), dims, ignore, enrol).subjects == 6
        engine.dispose()
        end = time.monotonic() + PATIENCE_S
        for person in range(6):
            while True:
                found = service.identify("default", "voice", sample(person, 1), 5, None, 1e-2).candidates
                if found and found[0].subject_id == f"p{person}":
                    break
                assert time.monotonic() < end, found
        assert service.gallery_sizes() == {("default", "voice"): 6 + len(own)}
        assert len(own) == 4  # twice two pieces: compared, and stored
