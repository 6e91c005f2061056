"""Run a scenario against a host, or against a server that is started for it.

    python -m loadtests.scenarios --scenario spike --users 16 --duration 60s
    python -m loadtests.scenarios --scenario steady --host https://matchka.example --workers 4 --max-p99-ms 500

Options that are not listed here go to locust: `--help` of loadtests/locustfile.py has them, the bounds among them.
The report, its JSON and the log of the server are in `--out`. Exit statuses: see loadtests/locustfile.py.
"""

import argparse
import functools
import os
import subprocess
import sys
from pathlib import Path

from loadtests.scenarios.scenario import Scenario
from loadtests.scenarios.table import SCENARIOS
from loadtests.with_server import status_beside_server

LOCUSTFILE = Path(__file__).parents[1] / "locustfile.py"
STOP_S = 10  # for the answers under way when callers are stopped
COMMAND_S = 60.0
CREATE_KEY = (sys.executable, "-m", "matchka", "keys", "create", "load", "--scopes", "all")
# what protects people from guessing would stop callers who repeat a few samples
SETTINGS = {"failed_tries_per_hour": 1_000_000, "challenges_per_hour": 1000, "open_challenges": 1000}


def at_least(fewest: int, text: str) -> int:
    """A whole number; locust takes any for another.

    >>> at_least(1, "2")
    2
    """
    number = int(text)
    if number < fewest:
        raise argparse.ArgumentTypeError(f"{number} is fewer than {fewest}")
    return number


def duration(text: str) -> str:
    """A time for locust, which takes none for no end.

    >>> duration("90s")
    '90s'
    """
    if not any(digit in text for digit in "123456789"):
        raise argparse.ArgumentTypeError(f"{text!r} is no time: 90s, 5m or 2h")
    return text


def main() -> None:
    """Run, and exit with locust's status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenario", choices=tuple(SCENARIOS), default="steady")
    parser.add_argument("--host", help="of a running service; one is started where it is left out")
    parser.add_argument("--port", type=int, default=8009, help="of a server that is started")
    callers, senders = functools.partial(at_least, 1), functools.partial(at_least, 0)
    parser.add_argument("--users", type=callers, default=16)
    parser.add_argument("--duration", type=duration, default="60s", help="as 90s, 5m or 2h")
    parser.add_argument("--workers", type=senders, default=0, help="processes that send; 0: this one")
    parser.add_argument("--out", type=Path, default=Path("build/load"))
    parser.add_argument("--models-dir", type=Path, default=Path("models"))
    arguments, rest = parser.parse_known_args()
    scenario, out = SCENARIOS[arguments.scenario], arguments.out
    host = arguments.host or f"http://127.0.0.1:{arguments.port}"
    report = out / f"{scenario.name}.html"
    report.unlink(missing_ok=True)
    command = [
        *(sys.executable, "-m", "locust", "--locustfile", str(LOCUSTFILE), "--headless", "--only-summary"),
        *("--scenario", scenario.name, "--host", host.rstrip("/"), "--html", str(report)),
        *("--users", str(arguments.users), "--run-time", arguments.duration, "--stop-timeout", str(STOP_S)),
        *(("--processes", str(arguments.workers)) if arguments.workers else ()),
        *rest,
    ]
    if arguments.host:
        status = subprocess.run(command, check=False).returncode
    else:
        data, models = out / "server" / "data", arguments.models_dir
        status = status_beside_server(
            arguments.port, data.parent, models, command, before=lambda: _keys_of(scenario, data, models), **SETTINGS
        )
    sys.stdout.write(f"report: {report}\n" if report.is_file() else "")
    sys.exit(status)


def _keys_of(scenario: Scenario, data: Path, models: Path) -> dict[str, str]:
    """A key of each tenant of a scenario, made in the data folder of a server before it starts."""
    folders = {"MATCHKA_DATA_DIR": str(data.resolve()), "MATCHKA_MODELS_DIR": str(models.resolve())}
    others = {name: value for name, value in os.environ.items() if not name.startswith("MATCHKA_")}
    made = [
        subprocess.run(
            [*CREATE_KEY, "--tenant", f"load-{number}"],
            env={**others, **folders},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            check=True,
            timeout=COMMAND_S,
        ).stdout.strip()
        for number in range(scenario.tenants)
    ]
    return {"LOAD_KEYS": ",".join(made)}


if __name__ == "__main__":
    main()
