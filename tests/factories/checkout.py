"""The checkout that the tests run in, and the project's own command that fills its `models` and `build`."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def run_export(*arguments: str) -> None:
    """Run `matchka-export` and show what it said if it failed."""
    done = subprocess.run(
        [sys.executable, "-m", "matchka_export", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
