"""Tampering: one thing is changed in the files of a service that does not run, which is then started.

Nobody here computes a bundle's digests anew: against that there are signatures (docs/bundle.md).
"""

import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from loadtests.client.caller import Caller
from loadtests.server import ServerFailedError, ServerProcess, free_port, start_server, status_of
from loadtests.torture.attack.attack import Plan, Result
from loadtests.torture.attack.scene import FIRST_KEY, MODEL, VICTIM, Vector, enrol, opened_scene, settings_of, unit
from tests.factories.direct_embedder import DIM, sample_of

ATTACKER = "attacker"
BUNDLE, FUSION = "voice", "voice+face"
PARTS = ("voice", "face", FUSION)
START_BOUND_S = 120.0
DATABASE, KEY_STORE = Path("data/matchka.sqlite"), Path("data/keys/keys.sqlite")
EMBEDDINGS = ("templates", "subject_references")


@dataclass(frozen=True)
class Change:
    """One change of a folder."""

    name: str
    make: Callable[[Path], None]


class Served:
    """What a start after a change came to."""

    def __init__(self, server: ServerProcess | None) -> None:
        self.server = server

    @property
    def is_refused(self) -> bool:
        """Whether it ended, or serves nothing."""
        return self.server is None or status_of(self.server.port, "/readyz") != 200


def tamper_with_bundles(plan: Plan) -> Result:
    """Each must keep the service from starting."""
    changes = [
        Change("a threshold", _edited(f"models/{BUNDLE}/manifest.json", '"threshold": ', '"threshold": -')),
        Change("a graph's byte", _flipped(f"models/{BUNDLE}/model.onnx")),
        Change("the report", _edited(f"models/{BUNDLE}/report.json", "{", '{"extra": 1,')),
        Change("the fusion's offset", _edited(f"models/{FUSION}/fusion.json", '"offset": -', '"offset": ')),
        Change("a link for a graph", _linked(f"models/{BUNDLE}/model.onnx")),
    ]
    return _try(plan, "bundles", changes, lambda _served, _person: True, is_light=False)


def tamper_with_rows(plan: Plan) -> Result:
    """The attacker's embeddings in the victim's rows, encrypted or in clear, must not match her id."""
    changes = [
        Change("her rows hold another's ciphertext", _moved_embeddings),
        Change("her rows hold an embedding in clear", _planted(plan)),
        Change("a byte of her reference", _flipped_reference),
    ]
    return _try(plan, "rows", changes, _opens)


def tamper_with_names(plan: Plan) -> Result:
    """What is not bound: the names of rows, and the rights of keys."""
    return _try(plan, "names", [Change("the subject ids change places", _swapped_ids)], _opens)


def tamper_with_key_store(plan: Plan) -> Result:
    """Keys exchanged, deleted, or of another store must not open anything for anybody else."""
    changes = [
        Change("two subjects' keys change places", _swapped_keys),
        Change("her key is deleted", _deleted_key),
        Change("the key store of another service", _other_key_store(plan)),
        Change("another master key", _other_master),
    ]
    return _try(plan, "key-store", changes, _opens)


def _try(
    plan: Plan,
    name: str,
    changes: Sequence[Change],
    leaks: Callable[[Served, Vector], bool],
    is_light: bool = True,
) -> Result:
    """Make one change after the other, each in a copy of one folder.

    Args:
        plan: how much is tried.
        name: of the folder.
        changes: what is changed.
        leaks: whether a service that serves after that, asked with the attacker's embedding, gives what it must not.
        is_light: whether the default bundles are left out.
    """
    person = unit(np.random.default_rng([plan.seed, 11]).normal(size=DIM))
    whole = plan.out / f"tampering-{name}"
    refused, leaked = 0, []
    with opened_scene(whole, plan.seed) as scene:
        enrol(scene.caller(FIRST_KEY), ATTACKER, person)
    if not is_light:
        for part in PARTS:
            shutil.copytree(plan.models_dir / part, whole / "models" / part)
    with _started(whole) as served:
        if served.is_refused or _opens(served, person):
            raise RuntimeError(f"nothing was changed, and it does not serve as it should: {whole / 'server.log'}")
    for number, change in enumerate(changes):
        folder = plan.out / f"tampered-{name}-{number}"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(whole, folder)
        change.make(folder)
        with _started(folder) as served:
            if served.is_refused:
                refused += 1
            elif leaks(served, person):
                leaked.append(change.name)
    return Result(len(changes), refused, len(leaked), "; ".join(leaked) or "none was of use")


def _opens(served: Served, person: Vector) -> bool:
    """Whether the attacker's embedding opens the victim's id."""
    if served.server is None:
        return False
    caller = Caller(served.server.port, FIRST_KEY)
    answer = caller.post("verify", [sample_of(person)], model=MODEL, subject_id=VICTIM)
    found = caller.post("identify", [sample_of(person)], model=MODEL)
    caller.close()
    verified = answer.status == 200 and answer.body["match"]
    return bool(verified or (found.status == 200 and found.body["match"] == VICTIM))


@contextmanager
def _started(folder: Path) -> Iterator[Served]:
    server = start_server(
        free_port(), folder / "data", folder / "models", folder / "server.log", api_key=FIRST_KEY, **settings_of(folder)
    )
    try:
        yield Served(server if _comes_up(server) else None)
    finally:
        server.end()


def _comes_up(server: ServerProcess) -> bool:
    """Whether it serves, or says for good that it does not."""
    try:
        server.wait_until_ready(START_BOUND_S, lambda port: status_of(port, "/readyz") == 200 or _is_locked(server))
    except ServerFailedError:
        if server.process.poll() is None:
            raise
        return False
    return True


def _is_locked(server: ServerProcess) -> bool:
    return "The service serves nothing" in server.log_tail()


def _edited(file: str, before: str, after: str) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        text = (folder / file).read_text(encoding="utf-8")
        if before not in text:
            raise LookupError(f"{file} has no {before!r}")
        (folder / file).write_text(text.replace(before, after, 1), encoding="utf-8")

    return edit


def _flipped(file: str) -> Callable[[Path], None]:
    def flip(folder: Path) -> None:
        content = bytearray((folder / file).read_bytes())
        content[len(content) // 2] ^= 1
        (folder / file).write_bytes(content)

    return flip


def _linked(file: str) -> Callable[[Path], None]:
    def link(folder: Path) -> None:
        elsewhere = folder / "elsewhere.onnx"
        shutil.move(folder / file, elsewhere)
        (folder / file).symlink_to(elsewhere.resolve())

    return link


@contextmanager
def _changing(file: Path) -> Iterator[sqlite3.Connection]:
    if not file.exists():
        raise LookupError(f"there is no {file}")
    with closing(sqlite3.connect(file)) as connection, connection:
        yield connection


def _key_of(connection: sqlite3.Connection, subject_id: str) -> tuple[int, bytes]:
    """Number of a subject, and the id of its key."""
    row = connection.execute("SELECT key, key_id FROM subjects WHERE subject_id = ?", (subject_id,)).fetchone()
    return int(row[0]), bytes(row[1] or b"")


def _moved_embeddings(folder: Path) -> None:
    with _changing(folder / DATABASE) as connection:
        hers, his = _key_of(connection, VICTIM)[0], _key_of(connection, ATTACKER)[0]
        for table in EMBEDDINGS:
            row = connection.execute(f"SELECT embedding, digest FROM {table} WHERE subject_key = ?", (his,)).fetchone()
            connection.execute(f"UPDATE {table} SET embedding = ?, digest = ? WHERE subject_key = ?", (*row, hers))


def _planted(plan: Plan) -> Callable[[Path], None]:
    """Rows as a service without a vault writes them."""

    def plant(folder: Path) -> None:
        person = unit(np.random.default_rng([plan.seed, 11]).normal(size=DIM))
        clear = plan.out / "tampering-clear"
        with opened_scene(clear, plan.seed, vault=False) as scene:
            enrol(scene.caller(FIRST_KEY), ATTACKER, person)
        with _changing(clear / DATABASE) as source, _changing(folder / DATABASE) as connection:
            his, hers = _key_of(source, ATTACKER)[0], _key_of(connection, VICTIM)[0]
            connection.execute("UPDATE subjects SET key_id = NULL WHERE key = ?", (hers,))
            for table in EMBEDDINGS:
                row = source.execute(f"SELECT embedding, digest FROM {table} WHERE subject_key = ?", (his,)).fetchone()
                connection.execute(f"UPDATE {table} SET embedding = ?, digest = ? WHERE subject_key = ?", (*row, hers))

    return plant


def _flipped_reference(folder: Path) -> None:
    with _changing(folder / DATABASE) as connection:
        hers = _key_of(connection, VICTIM)[0]
        query = "SELECT embedding FROM subject_references WHERE subject_key = ?"
        content = bytearray(connection.execute(query, (hers,)).fetchone()[0])
        content[-1] ^= 1
        update = "UPDATE subject_references SET embedding = ? WHERE subject_key = ?"
        connection.execute(update, (bytes(content), hers))


def _swapped_ids(folder: Path) -> None:
    with _changing(folder / DATABASE) as connection:
        rename = "UPDATE subjects SET subject_id = ? WHERE subject_id = ?"
        for new, old in (("aside", VICTIM), (VICTIM, ATTACKER), (ATTACKER, "aside")):
            connection.execute(rename, (new, old))


def _swapped_keys(folder: Path) -> None:
    with _changing(folder / DATABASE) as connection:
        ids = [_key_of(connection, subject_id)[1] for subject_id in (VICTIM, ATTACKER)]
    with _changing(folder / KEY_STORE) as connection:
        query = "SELECT wrapped FROM subject_keys WHERE key_id = ?"
        wrapped = [connection.execute(query, (one,)).fetchone()[0] for one in ids]
        for key_id, other in zip(ids, reversed(wrapped), strict=True):
            connection.execute("UPDATE subject_keys SET wrapped = ? WHERE key_id = ?", (other, key_id))


def _deleted_key(folder: Path) -> None:
    with _changing(folder / DATABASE) as connection:
        hers = _key_of(connection, VICTIM)[1]
    with _changing(folder / KEY_STORE) as connection:
        connection.execute("DELETE FROM subject_keys WHERE key_id = ?", (hers,))


def _other_key_store(plan: Plan) -> Callable[[Path], None]:
    """That of a service whose owner has enrolled the same two."""

    def replace(folder: Path) -> None:
        other = plan.out / "tampering-other"
        with opened_scene(other, plan.seed) as scene:
            enrol(scene.caller(FIRST_KEY), ATTACKER, scene.template)
        shutil.rmtree((folder / KEY_STORE).parent)
        shutil.copytree((other / KEY_STORE).parent, (folder / KEY_STORE).parent)
        shutil.copy(other / "master.key", folder / "master.key")

    return replace


def _other_master(folder: Path) -> None:
    (folder / "master.key").write_text("5a" * 32)
