"""The audit log: records are changed, cut off, exchanged and forged in the database; `matchka audit verify` is asked.

The attacker writes the database and nothing else. Refused: the log was not whole afterwards, by the command's word.
"""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from loadtests.torture.attack.attack import Plan, Result
from loadtests.torture.attack.scene import COMMAND_S, FIRST_KEY, enrol, opened_scene, serving, settings_of, unit
from tests.factories.direct_embedder import DIM

DATABASE = Path("data/matchka.sqlite")
CHECKPOINT = Path("data/audit.checkpoint")
PEOPLE = 6  # enrolled, each a record
CHECKPOINT_S = 60.0  # longest wait for one that is written within a second
RUNS_S = 3.0  # of a service after a change; its log is looked at every second
HEAD = "UPDATE audit_head SET"
COLUMNS = (
    "sequence, at, outcome, call, tenant, key_id, subject, model, version, threshold, detail, network, request_id, "
    "count"
)

Change = Callable[[sqlite3.Connection], None]


def change_audit_log(plan: Plan) -> Result:
    """Each is made while no service runs, and those of LARGE beside one as well, which may go on from what it finds."""
    whole = plan.out / "audit-log"
    with opened_scene(whole, plan.seed) as scene:
        caller = scene.caller(FIRST_KEY)
        for number in range(PEOPLE):
            enrol(caller, f"person-{number}", unit(np.random.default_rng([plan.seed, number]).normal(size=DIM)))
        last = _rows(whole, "SELECT max(sequence) FROM audit_log")[0][0]
        _wait_for_checkpoint(whole, last)
    if not _is_whole(whole):
        raise RuntimeError(f"nothing was changed, and its log is not whole: {whole}")
    unnoticed = []
    for name, changes in CHANGES.items():
        for runs in (False, True) if name in LARGE else (False,):
            folder = plan.out / "audit-log-changed"
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(whole, folder)
            _make(folder, changes, runs)
            if _is_whole(folder):
                unnoticed.append(f"{name}{' beside a service' if runs else ''}")
    tried = len(CHANGES) + len(LARGE)
    return Result(tried, tried - len(unnoticed), len(unnoticed), "; ".join(unnoticed) or "all were found")


def _make(folder: Path, changes: Sequence[Change], runs: bool) -> None:
    """Make changes, with a second for the service's own look between them where one runs."""
    if not runs:
        for change in changes:
            _change(folder, change)
        return
    with serving(folder):
        for change in changes:
            _change(folder, change)
            time.sleep(RUNS_S)


def _change(folder: Path, change: Change) -> None:
    with closing(sqlite3.connect(folder / DATABASE, timeout=COMMAND_S)) as connection, connection:
        change(connection)


def _is_whole(folder: Path) -> bool:
    """What the command says of a log."""
    variables = {"MATCHKA_DATA_DIR": str(folder / "data"), "MATCHKA_MODELS_DIR": str(folder / "models")}
    settings = {f"MATCHKA_{name.upper()}": str(value) for name, value in settings_of(folder).items()}
    done = subprocess.run(
        [sys.executable, "-m", "matchka", "audit", "verify", "--json"],
        env={**os.environ, **variables, **settings},
        capture_output=True,
        check=False,
        timeout=COMMAND_S,
        text=True,
    )
    if done.returncode == 0:
        return True
    if "Traceback" in done.stderr:
        raise RuntimeError(f"the command does not say what it found: {done.stderr}")
    return False


def _wait_for_checkpoint(folder: Path, sequence: int) -> None:
    end = time.monotonic() + CHECKPOINT_S
    while not (folder / CHECKPOINT).exists() or json.loads((folder / CHECKPOINT).read_bytes())["sequence"] < sequence:
        if time.monotonic() > end:
            raise RuntimeError("no checkpoint was written")
        time.sleep(0.1)


def _rows(folder: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(folder / DATABASE)) as connection:
        return connection.execute(query).fetchall()


def _sql(*statements: str) -> Change:
    def change(connection: sqlite3.Connection) -> None:
        for statement in statements:
            connection.execute(statement)

    return change


def _head_at(sequence: int) -> Change:
    """The head says that an older record is the last."""
    place = f"(SELECT hash FROM audit_log WHERE sequence = {sequence})"
    return _sql(f"{HEAD} sequence = {sequence}, hash = {place}")


def _said_to_be_pruned(sequence: int) -> Change:
    place = f"(SELECT hash FROM audit_log WHERE sequence = {sequence})"
    return _sql(
        f"{HEAD} pruned_sequence = {sequence}, pruned_hash = {place}",
        f"DELETE FROM audit_log WHERE sequence <= {sequence}",
    )


def _forge_pruning(connection: sqlite3.Connection) -> None:
    """Append a record of a pruning, in the form that docs/audit.md gives, chained to the last one."""
    sequence, before = connection.execute("SELECT sequence, hash FROM audit_head").fetchone()
    place = connection.execute("SELECT hash FROM audit_log WHERE sequence = 3").fetchone()[0]
    _append(connection, sequence, before, "pruned", f"3 {place} {'0' * 64}")


def _append(connection: sqlite3.Connection, last: int, before: str, outcome: str, detail: str | None) -> None:
    at = connection.execute("SELECT at FROM audit_log WHERE sequence = ?", (last,)).fetchone()[0]
    row = [last + 1, at, outcome, "audit", None, None, None, None, None, None, detail, None, None, 3]
    fields = [row[0], f"{at.replace(' ', 'T')}Z", *row[2:]]
    here = _linked(before, fields)
    marks = ", ".join("?" * (len(row) + 1))
    connection.execute(f"INSERT INTO audit_log ({COLUMNS}, hash) VALUES ({marks})", (*row, here))
    connection.execute(f"{HEAD} sequence = ?, hash = ?", (last + 1, here))


def _linked(before: str, fields: Sequence[object]) -> str:
    return sha256(bytes.fromhex(before) + json.dumps(list(fields), separators=(",", ":")).encode()).hexdigest()


def _made_anew(connection: sqlite3.Connection) -> None:
    """Change a record, and compute every hash from there on."""
    connection.execute("UPDATE audit_log SET outcome = 'deleted' WHERE sequence = 3")
    before = "0" * 64
    for row in connection.execute(f"SELECT {COLUMNS} FROM audit_log ORDER BY sequence").fetchall():
        before = _linked(before, [row[0], f"{row[1].replace(' ', 'T')}Z", *row[2:]])
        connection.execute("UPDATE audit_log SET hash = ? WHERE sequence = ?", (before, row[0]))
    connection.execute(f"{HEAD} hash = ?", (before,))


CHANGES: dict[str, Sequence[Change]] = {
    "an outcome": [_sql("UPDATE audit_log SET outcome = 'deleted' WHERE sequence = 3")],
    "whose key": [_sql("UPDATE audit_log SET key_id = 'another' WHERE sequence = 3")],
    "a subject": [_sql("UPDATE audit_log SET subject = NULL WHERE sequence = 3")],
    "a hash that is none": [_sql("UPDATE audit_log SET hash = 'zz' WHERE sequence = 3")],
    "bytes for a text": [_sql("UPDATE audit_log SET detail = x'00ff' WHERE sequence = 3")],
    "a time that is none": [_sql("UPDATE audit_log SET at = 'never' WHERE sequence = 1")],
    "a record removed": [_sql("DELETE FROM audit_log WHERE sequence = 3")],
    "two records exchanged": [
        _sql(*(f"UPDATE audit_log SET sequence = {to} WHERE sequence = {of}" for of, to in ((3, 99), (4, 3), (99, 4))))
    ],
    "the chain made anew": [_made_anew],
    "the end cut off": [_head_at(4), _sql("DELETE FROM audit_log WHERE sequence > 4")],
    "the beginning cut off": [_said_to_be_pruned(3)],
    "the beginning cut off behind a forged pruning": [_forge_pruning, _said_to_be_pruned(3)],
    "everything removed": [_sql("DELETE FROM audit_log", f"{HEAD} sequence = 0, hash = '{'0' * 64}'")],
}
LARGE = (
    "the chain made anew",
    "the end cut off",
    "the beginning cut off",
    "the beginning cut off behind a forged pruning",
    "everything removed",
)
