"""`matchka demo`: what it shows is right, and nobody whom it enrolled is left, however it ends."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.factories.server_process import RunningServer, StartServer, stop

WAIT_S = 120.0


@pytest.fixture
def own_server(start_server: StartServer, tmp_path: Path) -> Iterator[RunningServer]:
    """A server on which nobody is enrolled."""
    server = start_server(tmp_path / "data")
    yield server
    stop(server.process)


def demonstration(server: RunningServer, voice_samples: Path) -> subprocess.Popen[str]:
    # in a shell's background a process ignores SIGINT, and so would its children
    interruptible = (
        "import os, signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    )
    command = ["-m", "matchka", "demo", "--samples", str(voice_samples.parent), "--url", server.url]
    return subprocess.Popen(
        [sys.executable, "-c", interruptible, *command],
        env={**os.environ, "COLUMNS": "200"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def subjects_of(server: RunningServer) -> dict[str, int]:
    return {subject.subject_id: subject.template_count for subject in server.client().subjects().subjects}


def test_demonstration_beside_enrolled_people_leaves_exactly_them(
    own_server: RunningServer, voice_samples: Path
) -> None:
    """One of them has the name that a demonstration might choose, and one has a voice that takes part."""
    clips = sorted((voice_samples / "librivox").glob("*.wav"))
    own_server.client().enroll("demo:cards", [clips[0]])
    own_server.client().enroll("ada", [clips[1], clips[2]])
    shown = demonstration(own_server, voice_samples)
    said, _ = shown.communicate(timeout=WAIT_S)
    assert shown.returncode == 0, said
    assert subjects_of(own_server) == {"demo:cards": 1, "ada": 2}
    assert "matchka subjects delete ada" in said


def test_demonstration_that_is_interrupted_leaves_nobody(own_server: RunningServer, voice_samples: Path) -> None:
    shown = demonstration(own_server, voice_samples)
    deadline = time.monotonic() + WAIT_S
    while not subjects_of(own_server):
        assert time.monotonic() < deadline
        assert shown.poll() is None, "it ended before anybody was seen"
    shown.send_signal(signal.SIGINT)
    said, _ = shown.communicate(timeout=WAIT_S)
    assert shown.returncode != 0, said
    assert subjects_of(own_server) == {}


def test_demonstration_without_its_samples_says_how_to_fetch_them(own_server: RunningServer, tmp_path: Path) -> None:
    shown = demonstration(own_server, tmp_path / "samples" / "voice")
    said, _ = shown.communicate(timeout=WAIT_S)
    assert shown.returncode == 2
    assert "matchka-export samples" in said
