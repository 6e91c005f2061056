"""The shell that runs a page's commands: a scratch copy of the repository's root, and what came of each command."""

import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.factories.checkout import ROOT

BOUND_S = 900  # of a whole page, on a machine that others use
USED = ("deploy", "models", "build/samples")  # of the repository's root, by commands that are run
PRELUDE = """
set -uo pipefail
# a service that a page starts is asked whether it is ready, and stopped
matchka() {
    if [ "$1" != serve ]; then command matchka "$@"; return; fi
    MATCHKA_PORT=$OWN_PORT command matchka "$@" > serve.log 2>&1 & server=$!
    until command matchka wait --timeout 2 --url "http://127.0.0.1:$OWN_PORT"; do
        kill -0 "$server" || { cat serve.log >&2; return 1; }
    done
    kill "$server"; wait "$server"; local status=$?
    [ "$status" = 143 ] || { cat serve.log >&2; return "$status"; }  # it ends by the signal that it was sent
}
"""


@dataclass(frozen=True)
class Step:
    """A piece of a page's session.

    Attributes:
        place: page and line.
        code: for the shell.
        exit_code: what is expected.
        said: what has to be in its output.
    """

    place: str
    code: str
    exit_code: int = 0
    said: str = ""


@dataclass(frozen=True)
class Outcome:
    """What came of a step; exit_code is None where the shell ended in it or did not come to it."""

    step: Step
    exit_code: int | None
    output: str
    errors: str

    @property
    def is_as_expected(self) -> bool:
        return self.exit_code == self.step.exit_code and self.step.said in self.output

    def __str__(self) -> str:
        told = f"{self.step.place}: {self.step.code}\nended with {self.exit_code}, expected {self.step.exit_code}"
        told += f" and {self.step.said!r} in its output" if self.step.said else ""
        return f"{told}\n--- it printed\n{self.output}--- and as errors\n{self.errors}"


def lay_out(folder: Path, used: Sequence[str] = USED) -> Path:
    """What commands use of the repository's root after `make run`, copied: what they write stays in the folder."""
    for name in used:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("secrets"))
    (folder / ".venv").symlink_to(sys.prefix)
    (folder / ".curlrc").write_text("silent\nshow-error\nfail\n")
    return folder


def environment_of(folder: Path, variables: Mapping[str, str]) -> dict[str, str]:
    """Variables of this process without the service's, and some others; programs of this environment come first."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MATCHKA_")}
    path = f"{Path(sys.executable).parent}:{inherited['PATH']}"
    own = {"PATH": path, "CURL_HOME": str(folder), "COLUMNS": "120", "TERM": "dumb"}
    return {**inherited, **own, **variables}


def run_steps(steps: Sequence[Step], folder: Path, variables: Mapping[str, str]) -> list[Outcome]:
    """Run steps in one shell, up to the first one that ends otherwise than expected.

    Args:
        steps: in their order.
        folder: where; see lay_out.
        variables: of the environment.
    """
    notes = folder / ".steps"
    notes.mkdir()
    script = [PRELUDE]
    for number, step in enumerate(steps):
        base = notes / str(number)
        base.with_suffix(".sh").write_text(f"{step.code}\n", encoding="utf-8")
        text, out, errors, code = (shlex.quote(str(base.with_suffix(end))) for end in (".sh", ".out", ".err", ".code"))
        script.append(f". {text} > {out} 2> {errors} < /dev/null; echo $? > {code}")
        script.append(f'[ "$(cat {code})" = {step.exit_code} ] || exit 0')
    (notes / "all.sh").write_text("\n".join(script), encoding="utf-8")
    command = ["bash", str(notes / "all.sh")]
    environment = environment_of(folder, variables)
    shell = subprocess.Popen(command, cwd=folder, env=environment, start_new_session=True)
    try:
        with suppress(subprocess.TimeoutExpired):  # the step that did not end has no exit code
            shell.wait(BOUND_S)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(shell.pid, signal.SIGKILL)
        shell.wait()
    return [_outcome(step, notes / str(number)) for number, step in enumerate(steps)]


def _outcome(step: Step, base: Path) -> Outcome:
    def read(ending: str) -> str:
        path = base.with_suffix(ending)
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    code = read(".code").strip()
    return Outcome(step, int(code) if code else None, read(".out"), read(".err"))
