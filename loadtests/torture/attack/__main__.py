"""Try what is known against templates, subjects, tenants and files, and say of each what was refused and what leaked.

    python -m loadtests.torture.attack
    python -m loadtests.torture.attack --recovery-calls 10000

Exit status 1: something leaked that SECURITY.md does not name among the known limits.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from loadtests.torture.attack.append import append_without_the_scope
from loadtests.torture.attack.attack import Attack, Plan, Result
from loadtests.torture.attack.audit_log import change_audit_log
from loadtests.torture.attack.recovery import recover_by_decisions, recover_by_scores
from loadtests.torture.attack.starving import starve
from loadtests.torture.attack.tampering import (
    tamper_with_bundles,
    tamper_with_key_store,
    tamper_with_names,
    tamper_with_rows,
)
from loadtests.torture.attack.tenants import walk_with_ids_of_another_tenant

ATTACKS: Final = (
    Attack("template recovery, with `scores`", recover_by_scores, "limit 3: whoever has `scores` has the templates"),
    Attack("template recovery, default scopes", recover_by_decisions),
    Attack("append without `append`", append_without_the_scope),
    Attack("another tenant's ids", walk_with_ids_of_another_tenant),
    Attack("starvation by uploads", starve),
    Attack("changed bundles and fusion", tamper_with_bundles),
    Attack("changed database rows", tamper_with_rows),
    Attack("exchanged names in the database", tamper_with_names, "threat model: subject ids are not bound"),
    Attack("changed key store", tamper_with_key_store),
    Attack("changed audit log", change_audit_log),
)


def main() -> None:
    """Attack, report, and exit with 1 where something leaked that must not."""
    arguments = _arguments()
    plan = Plan(
        arguments.out / "attack",
        arguments.models_dir,
        arguments.samples,
        arguments.recovery_calls,
        arguments.seconds,
        arguments.seed,
    )
    console = Console(stderr=True)
    rows: list[tuple[Attack, Result]] = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    chosen = [attack for attack in ATTACKS if arguments.only in attack.name]
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("Attacking", total=len(chosen))
        for attack in chosen:
            progress.update(task, description=attack.name)
            rows.append((attack, attack.run(plan)))
            progress.advance(task)
    broken = [problem for attack, result in rows for problem in attack.broken(result)]
    write_reports(arguments.out, rows, broken)
    console.print(_table(rows))
    for problem in broken:
        console.print(f"leaked: {problem}", style="red", markup=False, highlight=False, soft_wrap=True)
    sys.exit(1 if broken else 0)


def write_reports(out: Path, rows: Sequence[tuple[Attack, Result]], broken: Sequence[str]) -> None:
    """attack.json for programs, attack.md for people."""
    listed = [{"attack": attack.name, "known_limit": attack.known_limit, **asdict(result)} for attack, result in rows]
    report = json.dumps({"rows": listed, "broken": list(broken)}, indent=2)
    (out / "attack.json").write_text(report + "\n", encoding="utf-8")
    lines = ["# Attacks", "", "| attack | tried | refused | leaked | |", "|---|---|---|---|---|"]
    lines += [
        f"| {attack.name} | {result.tried} | {result.refused} | {result.leaked} | {_remark(attack, result)} |"
        for attack, result in rows
    ]
    (out / "attack.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _table(rows: Sequence[tuple[Attack, Result]]) -> Table:
    table = Table("attack", "tried", "refused", "leaked", "")
    for attack, result in rows:
        table.add_row(attack.name, str(result.tried), str(result.refused), str(result.leaked), _remark(attack, result))
    return table


def _remark(attack: Attack, result: Result) -> str:
    return f"{result.note} ({attack.known_limit})" if attack.known_limit else result.note


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recovery-calls", type=int, default=1000, help="to recover a template without `scores`")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each attack that starves others")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="attacks whose name holds this")
    parser.add_argument("--models-dir", type=Path, default=Path("models"))
    parser.add_argument("--samples", type=Path, default=Path("build/samples"))
    parser.add_argument("--out", type=Path, default=Path("build/torture"))
    arguments = parser.parse_args()
    for name in ("out", "models_dir", "samples"):
        setattr(arguments, name, getattr(arguments, name).resolve())
    arguments.out.mkdir(parents=True, exist_ok=True)
    return arguments


if __name__ == "__main__":
    main()
