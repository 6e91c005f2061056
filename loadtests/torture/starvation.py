"""Starve the service with one account, and look at how another is served meanwhile.

    python -m loadtests.torture.starvation --seconds 30

Honest callers verify a single voice and a single face at a time, first while nothing else happens and then beside each
attack, which comes from another process. Promised: 99 % of them are answered, and their 99th percentile is at most four
times that of the quiet time before. Both times are taken on the same machine a minute apart, so that their ratio says
more than either.
Exit status 1: a bound was passed; the report says which.
"""

import argparse
import asyncio
import io
import json
import shutil
import statistics
import subprocess
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image
from rich.console import Console
from rich.table import Table

from loadtests.client.load import Call, Connections, Outcome
from loadtests.server import HOST, started_server
from loadtests.torture.hostile.honest import HonestCallers, enrol_honest, honest_requests, read_material
from loadtests.torture.hostile.wire import form, head

HONEST, ATTACKER = "honest", "attacker"  # keys, which are accounts also where none is in force
MODELS = ("voice", "face")
ANSWERED_BOUND = 0.99
SLOWDOWN_BOUND = 4.0  # of the 99th percentile
BEGINNING_S = 8.0  # of an attack, before it is looked at
FILES = 32
HANGING, FALSE_UPLOADS, PICTURE_CALLERS, CLIP_CALLERS = 130, 16, 16, 8
ANNOUNCED_MIB = 1  # so that uploads that hang take all places, before they take the room for bodies
FALSE_MIB = 16
PICTURE_PX = (6000, 4000)
CLIP_S = 60
AUTHORIZATION = {"Authorization": f"Bearer {ATTACKER}"}


@dataclass(frozen=True)
class Attack:
    """What one account does to the others.

    Attributes:
        name: in the report.
        callers: that do the same at once.
        once: what each of them does again and again.
    """

    name: str
    callers: int
    once: Callable[[int, Connections], Awaitable[None]]


def main() -> None:
    """Run, report, and exit with 1 where a bound was passed."""
    arguments = _arguments()
    if arguments.attack_port:
        asyncio.run(_attack(arguments))
    folder = arguments.out / "starvation"
    shutil.rmtree(folder, ignore_errors=True)
    models_dir = folder / "models"
    models_dir.mkdir(parents=True)
    for name in MODELS:
        (models_dir / name).symlink_to((arguments.models_dir / name).resolve())
    with started_server(folder / "data", models_dir, folder / "server.log") as server:
        rows = asyncio.run(_measure(server.port, arguments))
    report = {"rows": rows, "broken": [problem for row in rows for problem in _broken(row)]}
    (arguments.out / "starvation.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    _show(rows, Console(stderr=True))
    sys.exit(1 if report["broken"] else 0)


async def _measure(port: int, arguments: argparse.Namespace) -> list[dict]:
    material = read_material(arguments.samples, HONEST)
    enrol_honest(port, material)
    requests = honest_requests(arguments.samples, material)
    await _honest(port, requests, arguments.seconds / 4)  # the first requests are slower than any later
    rows = []
    for attack in _attacks(arguments.samples, material.picture):
        if arguments.only in attack.name:
            quiet = await _honest(port, requests, arguments.seconds)
            with subprocess.Popen(_command(arguments, port, attack)) as attacking:
                await asyncio.sleep(BEGINNING_S)
                beside = await _honest(port, requests, arguments.seconds)
                attacking.kill()
            rows.append(_row(attack.name, quiet, beside))
            await asyncio.sleep(BEGINNING_S)
    return rows


async def _honest(port: int, requests: list[Call], seconds: float) -> Outcome:
    """What becomes of honest requests for so long, those under way at its end included."""
    callers = HonestCallers(port, requests)
    asking = asyncio.create_task(callers.run())
    await asyncio.sleep(seconds)
    asking.cancel()
    with suppress(asyncio.CancelledError):
        await asking
    return callers.outcome


def _command(arguments: argparse.Namespace, port: int, attack: Attack) -> list[str]:
    """A process of its own: what it sends must not delay what is measured."""
    module = [sys.executable, "-m", "loadtests.torture.starvation"]
    words = ["--attack-port", str(port), "--only", attack.name, "--samples", str(arguments.samples)]
    return [*module, *words, "--retry-s", str(arguments.retry_s)]


async def _attack(arguments: argparse.Namespace) -> None:
    """Go on until the process is killed."""
    port, connections = arguments.attack_port, Connections(arguments.attack_port)
    picture = read_material(arguments.samples, HONEST).picture
    (attack,) = (
        attack for attack in _attacks(arguments.samples, picture, arguments.retry_s) if attack.name == arguments.only
    )

    async def go_on() -> None:
        while True:
            with suppress(OSError):
                await attack.once(port, connections)

    await asyncio.gather(*(go_on() for _ in range(attack.callers)))


def _attacks(samples: Path, picture: bytes, retry_s: float = 0.0) -> list[Attack]:
    pictures = _embed_request("face", _large_picture(picture))
    clips = _embed_request("voice", _long_clip(samples))
    return [
        Attack(f"{HANGING} uploads that hang", HANGING, _hanging(_upload(ANNOUNCED_MIB))),
        Attack(
            f"{FALSE_UPLOADS} uploads that announce {FALSE_MIB} MiB and send 3 bytes",
            FALSE_UPLOADS,
            _hanging(_upload(FALSE_MIB) + b"--x"),
        ),
        Attack(
            f"{PICTURE_CALLERS} times {FILES} pictures of 24 million pixels",
            PICTURE_CALLERS,
            _sending(pictures, retry_s),
        ),
        Attack(f"{CLIP_CALLERS} times {FILES} clips of {CLIP_S} s", CLIP_CALLERS, _sending(clips, retry_s)),
    ]


def _upload(announced_mib: int) -> bytes:
    headers = {"Content-Type": "multipart/form-data; boundary=x", "Content-Length": str(announced_mib << 20)}
    return head("POST", "/v1/embed", headers | AUTHORIZATION)


def _hanging(start: bytes) -> Callable[[int, Connections], Awaitable[None]]:
    async def hang(port: int, _connections: Connections) -> None:
        reader, writer = await asyncio.open_connection(HOST, port)
        try:
            writer.write(start)
            await reader.read()  # until the server ends it
        finally:
            writer.close()

    return hang


def _sending(request: bytes, retry_s: float) -> Callable[[int, Connections], Awaitable[None]]:
    async def send(_port: int, connections: Connections) -> None:
        if (await connections.attempt(Call(request))).is_refusal:
            await asyncio.sleep(retry_s)

    return send


def _embed_request(model: str, file: bytes) -> bytes:
    files = {f"file#{number}": file for number in range(FILES)}
    return form("/v1/embed", {"model": model, **files}, AUTHORIZATION)


def _large_picture(picture: bytes) -> bytes:
    """A face on a large, empty picture: little to send, much to look through."""
    with Image.open(io.BytesIO(picture)) as face:
        large = Image.new("RGB", PICTURE_PX)
        large.paste(face, (PICTURE_PX[0] // 2, PICTURE_PX[1] // 2))
    written = io.BytesIO()
    large.save(written, "JPEG")
    return written.getvalue()


def _long_clip(samples: Path) -> bytes:
    clips = [soundfile.read(path, dtype="float32") for path in sorted((samples / "voice" / "librivox").glob("*.wav"))]
    speech, rate_hz = np.concatenate([clip for clip, _ in clips]), clips[0][1]
    written = io.BytesIO()
    soundfile.write(written, np.resize(speech, CLIP_S * rate_hz), rate_hz, format="OGG", subtype="OPUS")
    return written.getvalue()


def _row(name: str, quiet: Outcome, beside: Outcome) -> dict:
    answered = len(beside.latency_s) / max(1, len(beside.attempts))
    return {
        "attack": name,
        "quiet": len(quiet.latency_s),
        "quiet_p99_s": _p99(quiet.latency_s),
        "asked": len(beside.attempts),
        "statuses": {str(status): count for status, count in sorted(beside.statuses.items())},
        "answered": round(answered, 4),
        "p99_s": _p99(beside.latency_s),
        "slowdown": round(_p99(beside.latency_s) / _p99(quiet.latency_s), 2),
    }


def _broken(row: dict) -> list[str]:
    broken = []
    if row["answered"] < ANSWERED_BOUND:
        broken.append(f"{row['attack']}: {row['answered']:.1%} of honest requests were answered")
    if row["slowdown"] > SLOWDOWN_BOUND:
        broken.append(f"{row['attack']}: honest requests took {row['slowdown']:g} times as long")
    return broken


def _p99(seconds: list[float]) -> float:
    return round(statistics.quantiles(seconds, n=100)[98], 4) if len(seconds) > 1 else float("inf")


def _show(rows: list[dict], console: Console) -> None:
    table = Table("attack of another account", "quiet, p99", "beside it, p99", "times as long", "answered")
    for row in rows:
        served = f"{row['answered']:.1%} of {row['asked']}"
        table.add_row(
            row["attack"], f"{row['quiet_p99_s']:.3f} s", f"{row['p99_s']:.3f} s", str(row["slowdown"]), served
        )
    console.print(table)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30.0, help="of each attack, and of the quiet before it")
    parser.add_argument("--only", default="", help="attacks whose name holds this")
    parser.add_argument("--retry-s", type=float, default=0.0, help="that attackers wait when they are refused")
    parser.add_argument("--attack-port", type=int, help="only attack the server on this port, by the attack of --only")
    parser.add_argument("--models-dir", type=Path, default=Path("models"))
    parser.add_argument("--samples", type=Path, default=Path("build/samples"))
    parser.add_argument("--out", type=Path, default=Path("build/torture"))
    arguments = parser.parse_args()
    arguments.out = arguments.out.resolve()
    return arguments


if __name__ == "__main__":
    main()
