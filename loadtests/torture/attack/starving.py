"""Starvation: loadtests.torture.starvation, as one row of the table."""

import json
import subprocess
import sys

from loadtests.torture.attack.attack import Plan, Result

KINDS = "uploads"  # those that hold places; the long work takes minutes, and has a line of its own in `make torture`


def starve(plan: Plan) -> Result:
    """An attack that another account's requests are late or unanswered for has leaked."""
    words = ["--seconds", str(plan.seconds), "--only", KINDS, "--out", str(plan.out)]
    folders = ["--models-dir", str(plan.models_dir), "--samples", str(plan.samples)]
    subprocess.run(
        [sys.executable, "-m", "loadtests.torture.starvation", *words, *folders],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,  # what is broken is in the report
    )
    report = json.loads((plan.out / "starvation.json").read_text(encoding="utf-8"))
    rows = report["rows"]
    worst = max(row["slowdown"] for row in rows)
    note = "; ".join(report["broken"]) or f"others answered, at most {worst:g} times as late"
    broken = len({problem.partition(":")[0] for problem in report["broken"]})
    return Result(len(rows), len(rows) - broken, broken, note)
