"""Send five times what the server can answer, and look at what it promises then: memory, latency, refusals, health.

    python -m loadtests.torture.overload --seconds 60

The flood comes from one process on the same cores, which offers what it can; the report says how much that was. Health
is looked at from another, at both of the server's listeners; the one for health alone has to keep its bound.
Exit status 1: a bound was passed; the report says which.
"""

import argparse
import asyncio
import json
import random
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from loadtests.client.caller import Caller
from loadtests.client.load import Call, Connections, Outcome, closed_loop, evenly, form_request, open_loop
from loadtests.server import ServerProcess, free_port, start_server

MODEL = "voice"
CALLERS = 16
# What is promised under overload.
MEMORY_BOUND_MIB = 1024.0
LATENCY_BOUND_S = 15.0  # of an accepted request, at its 99th percentile
HEALTH_BOUND_S = 2.0  # of /healthz and /readyz on the health listener, at their 99th percentile
RECOVERY_BOUND_S = 10.0


def main() -> None:
    """Run, report, and exit with 1 where a bound was passed."""
    arguments = _arguments()
    console = Console(stderr=True)
    folder = arguments.out / "overload"
    shutil.rmtree(folder, ignore_errors=True)
    models_dir = folder / "models"
    models_dir.mkdir(parents=True)
    (models_dir / MODEL).symlink_to((arguments.models_dir / MODEL).resolve())
    health_port = free_port()
    server = start_server(free_port(), folder / "data", models_dir, folder / "server.log", health_port=health_port)
    try:
        server.wait_until_ready()
        with Progress(
            TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), console=console, transient=True
        ) as progress:
            progress.add_task(f"Flooding ({arguments.times:g} times what it can answer)", total=None)
            report = asyncio.run(_flood(server, health_port, _requests(server.port, arguments.samples), arguments))
        report["ended_with"] = server.stop()
    finally:
        server.end()
    if report["ended_with"] != 0:
        report["broken"].append(f"the server ended with {report['ended_with']} after SIGTERM")
    (arguments.out / "overload.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    console.print_json(json.dumps(report))
    sys.exit(1 if report["broken"] else 0)


async def _flood(server: ServerProcess, health_port: int, requests: list[Call], arguments: argparse.Namespace) -> dict:
    warm = await closed_loop(server.port, requests, CALLERS, arguments.measure_seconds)
    rate = len(warm.latency_s) / arguments.measure_seconds
    before_mib = server.memory_mib()
    watch = subprocess.Popen(
        [sys.executable, "-m", "loadtests.torture.watch", f"main={server.port}", f"health={health_port}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    began = time.perf_counter()
    flood = await open_loop(server.port, requests, evenly(arguments.times * rate, arguments.seconds))
    took = time.perf_counter() - began
    seen = json.loads(watch.communicate()[0])
    recovered_s = await _recovery(server.port, requests, 2 * max(warm.latency_s))
    report = {
        "sustained_per_s": round(rate, 1),
        "sustained_latency_s": _spread(warm.latency_s),
        "asked_per_s": round(arguments.times * rate, 1),
        "offered_per_s": round(sum(flood.statuses.values()) / took, 1),
        "not_offered": flood.unsent,
        "offered_late_s": _spread(flood.late_s),
        "flood_s": round(took, 1),
        "answers": {str(status): count for status, count in sorted(flood.statuses.items())},
        "accepted_per_s": round(len(flood.latency_s) / took, 1),
        "accepted_latency_s": _spread(flood.latency_s),
        "refused_latency_s": _spread(flood.refusal_s),
        "health_latency_s": {name: _spread(seconds) for name, seconds in seen["latency_s"].items()},
        "memory_mib": {
            "before": round(before_mib),
            "peak": round(server.memory_mib("VmHWM")),
            "after": round(server.memory_mib()),
        },
        "recovered_after_s": round(recovered_s, 2),
    }
    return {**report, "broken": _broken(report, flood, seen["wrong"], arguments.time_factor)}


async def _recovery(port: int, requests: list[Call], normal_s: float) -> float:
    """Seconds until a request is answered with success in a normal time."""
    began = time.perf_counter()
    connections = Connections(port)
    while time.perf_counter() - began < 10 * RECOVERY_BOUND_S:
        attempt = await connections.attempt(requests[0])
        if attempt.status == 200 and attempt.latency_s <= normal_s:
            break
    connections.close()
    return time.perf_counter() - began


def _broken(report: dict, flood: Outcome, wrong_health: list[str], time_factor: float) -> list[str]:
    broken = wrong_health[:5]
    strange = {status for status in flood.statuses if not 200 <= status < 300 and status not in (429, 503)}
    if strange:
        broken.append(f"requests were answered with {sorted(strange)} (0: not at all)")
    if not flood.latency_s:
        broken.append("nothing was answered")
    if flood.without_retry_after:
        broken.append(f"{flood.without_retry_after} refusals without Retry-After")
    for name, value, bound in (
        ("memory_mib", report["memory_mib"]["peak"], MEMORY_BOUND_MIB),
        ("accepted_latency_s", report["accepted_latency_s"].get("p99", 0.0), time_factor * LATENCY_BOUND_S),
        ("health_latency_s", report["health_latency_s"]["health"].get("p99", 0.0), time_factor * HEALTH_BOUND_S),
        ("recovered_after_s", report["recovered_after_s"], time_factor * RECOVERY_BOUND_S),
    ):
        if value > bound:
            broken.append(f"{name} is {value}, and {bound:g} is promised")
    return broken


def _requests(port: int, samples: Path) -> list[Call]:
    """Enrol everybody, and make the requests: two thirds verify, one third identify."""
    caller = Caller(port)
    made = []
    for person in sorted(path for path in samples.iterdir() if path.is_dir()):
        clips = [clip.read_bytes() for clip in sorted(person.glob("*.wav"))]
        answer = caller.post("enroll", clips[:2], model=MODEL, subject_id=person.name)
        if answer.status != 201:
            raise RuntimeError(f"enroll answered {answer}")
        for clip in clips:
            verify = form_request("/v1/verify", {"model": MODEL, "subject_id": person.name, "file": clip})
            identify = form_request("/v1/identify", {"model": MODEL, "file": clip})
            made += [Call(verify), Call(verify), Call(identify)]
    caller.close()
    random.Random(1).shuffle(made)
    return made


def _spread(seconds: list[float]) -> dict[str, float]:
    if len(seconds) < 2:
        return {}
    cuts = statistics.quantiles(seconds, n=100)
    return {"p50": round(cuts[49], 3), "p95": round(cuts[94], 3), "p99": round(cuts[98], 3)}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="of the flood")
    parser.add_argument("--measure-seconds", type=float, default=15.0, help="of finding out what it can answer")
    parser.add_argument("--times", type=float, default=5.0, help="how many times that is sent")
    parser.add_argument("--time-factor", type=float, default=1.0, help="by which the bounds on time are multiplied")
    parser.add_argument("--models-dir", type=Path, default=Path("models"))
    parser.add_argument("--samples", type=Path, default=Path("build/samples/voice"))
    parser.add_argument("--out", type=Path, default=Path("build/torture"))
    arguments = parser.parse_args()
    arguments.out = arguments.out.resolve()
    return arguments


if __name__ == "__main__":
    main()
