"""Let replicas on one PostgreSQL contend, stop, die and lose their database under load, and say what held.

    python -m loadtests.torture.replicas --replicas 2
    python -m loadtests.torture.replicas --pairs 500 --drains 4 --pause-s 5 --only database

Needs PostgreSQL's server and HAProxy. Exit status 1: a promise was broken, the table says which; 2: one is missing.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from loadtests.client.caller import ConnectionLostError
from loadtests.clusters import DURABLE, Cluster, started_cluster, what_is_missing
from loadtests.server import ServerFailedError
from loadtests.torture.replicas.proxy import program
from loadtests.torture.replicas.scene import NoProgressError
from loadtests.torture.replicas.trial import Plan, Result, Trial
from loadtests.torture.replicas.trials.contention import change_the_same_subjects
from loadtests.torture.replicas.trials.database_loss import hang_the_database, kill_the_database
from loadtests.torture.replicas.trials.paused import pause_a_follower
from loadtests.torture.replicas.trials.position import read_your_writes
from loadtests.torture.replicas.trials.retries import store_once
from loadtests.torture.replicas.trials.shards import serve_tenants_in_groups
from loadtests.torture.replicas.trials.stops import drain_under_load, kill_under_load
from loadtests.torture.replicas.trials.upgrade import upgrade_one_by_one

MISSING = 2
SHOWN = 5  # of what is broken in one trial; the report has all
FAILURES = (ServerFailedError, ConnectionLostError, NoProgressError, subprocess.SubprocessError, RuntimeError)
TRIALS: Final = (
    Trial("the same subjects at once", "no call fails; database and galleries agree", change_the_same_subjects),
    Trial("a change here, a question there", "with the position right; without it p99 <= 500 ms", read_your_writes),
    Trial("a follower paused", "nothing deleted influences an answer; all candidates come", pause_a_follower),
    Trial("SIGTERM under load", "no call fails", drain_under_load),
    Trial("SIGKILL under load", "only what was in flight fails; nothing acknowledged is lost", kill_under_load),
    Trial("database killed under load", "nothing acknowledged is lost; back by itself", kill_the_database),
    Trial("database hung under load", "503 in time; nothing acknowledged is lost; back by itself", hang_the_database),
    Trial("enrolment sent twice by the proxy", "stored once", store_once),
    Trial("two versions of a model", "known in either; refused by name where only the other is", upgrade_one_by_one),
    Trial("tenants in two groups", "each in its own database", serve_tenants_in_groups),
)


def main() -> None:
    """Try, report, and exit with 1 where something broke."""
    arguments = _arguments()
    console = Console(stderr=True)
    missing = what_is_missing() or (None if program() else "HAProxy is not installed")
    if missing:
        console.print(f"{missing}: `apt-get install postgresql haproxy`", style="red")
        sys.exit(MISSING)
    rows: list[tuple[Trial, Result, float]] = []
    with started_cluster(DURABLE) as cluster:
        plan = _plan(arguments, cluster)
        for trial in (one for one in TRIALS if arguments.only in one.name):
            began = time.monotonic()
            with console.status(trial.name):
                result = _tried(trial, plan)
            rows.append((trial, result, time.monotonic() - began))
            verdict = "[red]BROKEN" if result.broken else "held"
            console.print(f"{trial.name}: {verdict}, {rows[-1][2]:.0f} s")
            for problem in result.broken[:SHOWN]:
                console.print(f"  {problem}", style="red", markup=False, highlight=False, soft_wrap=True)
            if len(result.broken) > SHOWN:
                console.print(f"  and {len(result.broken) - SHOWN} more", style="red")
    write_reports(arguments.out, plan, rows)
    console.print(_table(rows))
    sys.exit(1 if any(result.broken for _, result, _ in rows) else 0)


def _tried(trial: Trial, plan: Plan) -> Result:
    """What came of it; a trial that could not go on broke something."""
    try:
        return trial.run(plan)
    except FAILURES as error:
        return Result(0, 0, (f"it could not go on: {error}",))


def write_reports(out: Path, plan: Plan, rows: Sequence[tuple[Trial, Result, float]]) -> None:
    """replicas.json for programs, replicas.md for people."""
    listed = [
        {"trial": trial.name, "promise": trial.promise, "seconds": s, **asdict(result)} for trial, result, s in rows
    ]
    amounts = {name: getattr(plan, name) for name in ("replicas", "pairs", "calls", "drains", "pause_s", "seed")}
    report = {"date": datetime.now(UTC).date().isoformat(), "plan": amounts, "rows": listed}
    (out / "replicas.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    lines = ["| what happens | promised | tried | as promised | |", "|---|---|---|---|---|"]
    lines += [
        f"| {trial.name} | {trial.promise} | {result.tried} | {result.right} | {_remark(result)} |"
        for trial, result, _ in rows
    ]
    (out / "replicas.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _table(rows: Sequence[tuple[Trial, Result, float]]) -> Table:
    table = Table("what happens", "promised", "tried", "as promised", "")
    for trial, result, _ in rows:
        style = "red" if result.broken else None
        table.add_row(trial.name, trial.promise, str(result.tried), str(result.right), _remark(result), style=style)
    return table


def _remark(result: Result) -> str:
    return f"**broken**; {result.note}" if result.broken else result.note


def _plan(arguments: argparse.Namespace, cluster: Cluster) -> Plan:
    amounts = {name: getattr(arguments, name) for name in ("replicas", "pairs", "calls", "drains", "pause_s", "seed")}
    return Plan(arguments.out / "replicas", cluster, **amounts)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replicas", type=int, default=2, choices=range(2, 9), help="processes on one database")
    parser.add_argument(
        "--pairs", type=int, default=10_000, help="of a change on one replica and a question to another"
    )
    parser.add_argument("--calls", type=int, default=1000, help="enrolments and deletions of the same subjects at once")
    parser.add_argument("--drains", type=int, default=20, help="SIGTERMs under load")
    parser.add_argument("--pause-s", type=float, default=30.0, help="for which a follower or the database is silent")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="trials whose name holds this")
    parser.add_argument("--out", type=Path, default=Path("build/torture"))
    arguments = parser.parse_args()
    arguments.out = arguments.out.resolve()
    arguments.out.mkdir(parents=True, exist_ok=True)
    return arguments


if __name__ == "__main__":
    main()
