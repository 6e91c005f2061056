"""The README's commands work as they stand there."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.server_process import RunningServer

ROOT = Path(__file__).parent.parent.parent
EXIT_CODE = re.compile(r"# exit code (\d)")


def commands_of(section: str) -> list[tuple[str, int]]:
    """Each `matchka` and `curl` line of a section's shell blocks, and the exit code its comment states."""
    text = (ROOT / "README.md").read_text(encoding="utf-8").split(f"## {section}\n")[1].split("\n## ")[0]
    lines = [line for block in re.findall(r"```sh\n(.*?)```", text, re.S) for line in block.splitlines()]
    found = []
    for line in lines:
        stated = EXIT_CODE.search(line)
        if line.startswith(("matchka ", "curl ")):
            found.append((line.split("#")[0].strip(), int(stated.group(1)) if stated else 0))
    return found


@pytest.mark.usefixtures("voice_samples", "face_samples")
def test_commands_of_the_readme_when_run_in_order_exit_as_it_says(server: RunningServer) -> None:
    commands = commands_of("Five minutes")
    assert len(commands) >= 10
    environment = {**os.environ, "MATCHKA_URL": server.url}
    for command, expected in commands:
        words = shlex.split(command.replace("http://127.0.0.1:8000", server.url))
        run = [sys.executable, "-m", "service", *words[1:]] if words[0] == "matchka" else [words[0], "-sf", *words[1:]]
        done = subprocess.run(run, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == expected, f"{command}\n{done.stdout}{done.stderr}"


def test_python_of_the_readme_when_run_answers(server: RunningServer, voice_samples: Path, tmp_path: Path) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.S)
    for name, clip in {"a.wav": "0870", "b.ogg": "0880", "probe.mp3": "0920"}.items():
        # the service looks at the bytes, not at the name
        (tmp_path / name).write_bytes((voice_samples / "librivox" / f"{clip}.wav").read_bytes())
    code = code.replace("http://127.0.0.1:8000", server.url)
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    match, similarity, threshold, probability = done.stdout.split()
    assert (match == "True") == (float(similarity) >= float(threshold))
    assert 0 < float(probability) < 1
    server.client().delete_subject("ada")


@pytest.mark.parametrize("target", ["setup", "run", "test", "check", "load", "accuracy"])
def test_targets_that_the_readme_names_exist(target: str) -> None:
    done = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
