"""The README's commands work as they stand there."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.factories.server_process import RunningServer, StartServer, stop

ROOT = Path(__file__).parent.parent.parent
EXIT_CODE = re.compile(r"# exit code (\d)")
SAID = re.compile(r"# (match: \w+)")


def commands_of(section: str) -> list[tuple[str, int, str]]:
    """Each `matchka` and `curl` line of a section's shell blocks, with its comment's exit code and answer."""
    text = (ROOT / "README.md").read_text(encoding="utf-8").split(f"## {section}\n")[1].split("\n## ")[0]
    lines = [line for block in re.findall(r"```sh\n(.*?)```", text, re.S) for line in block.splitlines()]
    found = []
    for line in lines:
        stated, said = EXIT_CODE.search(line), SAID.search(line)
        if line.startswith(("matchka ", "curl ")):
            code = int(stated.group(1)) if stated else 0
            found.append((line.split("#")[0].strip(), code, said.group(1) if said else ""))
    return found


def run(command: str, server: RunningServer, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run a line of the README against a server."""
    environment = {**os.environ, "MATCHKA_URL": server.url, "MATCHKA_DATA_DIR": str(server.data_dir)}
    words = shlex.split(command.replace("http://127.0.0.1:8000", server.url))
    line = [sys.executable, "-m", "matchka", *words[1:]] if words[0] == "matchka" else [words[0], "-sf", *words[1:]]
    return subprocess.run(line, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def after_demo(start_server: StartServer, face_samples: Path, tmp_path: Path) -> Iterator[RunningServer]:
    """A server of its own that the demonstration has been run on, as `make run` leaves it."""
    assert face_samples == ROOT / "build" / "samples" / "face"
    server = start_server(tmp_path / "data")
    shown = run("matchka demo", server)
    assert shown.returncode == 0, shown.stdout + shown.stderr
    yield server
    stop(server.process)


def test_commands_of_the_readme_after_the_demonstration_answer_as_it_says(after_demo: RunningServer) -> None:
    commands = commands_of("Five minutes")
    assert len(commands) >= 10
    assert [said for *_, said in commands if said] == ["match: ada"]
    for command, expected, said in commands:
        done = run(command, after_demo)
        assert done.returncode == expected, f"{command}\n{done.stdout}{done.stderr}"
        assert said in done.stdout, f"{command}\n{done.stdout}"


def test_gallery_commands_of_the_readme_when_run_exit_as_it_says(after_demo: RunningServer, tmp_path: Path) -> None:
    commands = commands_of("What is enrolled")
    assert len(commands) >= 3
    for command, expected, _ in commands:
        done = run(command, after_demo, tmp_path)
        assert done.returncode == expected, f"{command}\n{done.stdout}{done.stderr}"
    (backup,) = (tmp_path / "backups").iterdir()
    assert backup.suffix == ".matchka-backup"


def test_python_of_the_readme_when_run_answers(server: RunningServer, voice_samples: Path, tmp_path: Path) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.S)
    for name, clip in {"a.wav": "0870", "b.ogg": "0880", "probe.mp3": "0920"}.items():
        # the service looks at the bytes, not at the name
        (tmp_path / name).write_bytes((voice_samples / "librivox" / f"{clip}.wav").read_bytes())
    environment = {**os.environ, "MATCHKA_URL": server.url}
    asynchronous = "import asyncio\nprint(asyncio.run(is_ada(open('probe.mp3', 'rb').read())))\n"
    run_it = [sys.executable, "-c", code + asynchronous]
    done = subprocess.run(run_it, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    match, similarity, threshold, probability, match_of_full_dim = done.stdout.split()
    assert (match == "True") == (float(similarity) >= float(threshold))
    assert 0 < float(probability) < 1
    assert match_of_full_dim == "True"  # as "Five minutes" says of the same clip
    server.client().delete_subject("ada")


@pytest.mark.parametrize(
    "target", ["setup", "run", "test", "test-unit", "check", "load", "accuracy", "identification", "fusion", "lock"]
)
def test_targets_that_the_readme_names_exist(target: str) -> None:
    done = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
