"""loadtests/with_server.sh: it does not wait for a server that has died."""

import os
import socket
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parent.parent.parent / "loadtests" / "with_server.sh"
PATIENCE_S = 100.0  # less than the 120 s that it waits for a server to get ready


def test_command_beside_a_server_that_cannot_start_is_not_run_and_says_why(tmp_path: Path) -> None:
    bin_folder = str(Path(sys.executable).parent)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MATCHKA_")}
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = str(taken.getsockname()[1])
        done = subprocess.run(
            ["sh", str(SCRIPT), bin_folder, port, "test", "touch", "ran"],
            cwd=tmp_path,
            env=environment,
            timeout=PATIENCE_S,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert "cannot listen there" in done.stderr
    assert not (tmp_path / "ran").exists()
