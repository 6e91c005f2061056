"""A package above training adds a command to its command line without being imported by it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from matchka_train.cli.further_commands import COMMANDS_GROUP


@pytest.mark.slow
def test_command_line_when_an_installed_package_adds_a_command_runs_it(tmp_path: Path) -> None:
    (tmp_path / "above.py").write_text("def greet(who: str) -> None:\n    print(f'hello {who}')\n")
    described = tmp_path / "above-1.0.dist-info"
    described.mkdir()
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: above\nVersion: 1.0\n")
    (described / "entry_points.txt").write_text(f"[{COMMANDS_GROUP}]\ngreet = above:greet\n")
    paths = os.pathsep.join([str(tmp_path), *sys.path])
    command = [sys.executable, "-m", "matchka_train", "greet", "ada"]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "hello ada", done.stderr
