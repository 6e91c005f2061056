"""Samples from devices, by programs in place of those that a machine with a microphone and a camera has."""

import json
import os
import sys
import wave
from pathlib import Path

import numpy as np
import pytest

from matchka.cli.capture import device
from matchka.cli.capture.camera import CAMERA, photograph
from matchka.cli.capture.recorder import MICROPHONE, QUIETEST_DB, SAMPLE_RATE_HZ, level_db, record
from matchka.cli.output.errors import FAILED
from matchka.errors import MatchkaError, NoCameraError, NoRecorderError
from tests.factories.command_line import run
from tests.factories.samples import sample
from tests.factories.small_server import SmallServer

COPYING = """#!/bin/sh
echo "$@" > {said}
for each; do case "$each" in */clip.wav | */picture.jpg) cp {source} "$each" ;; esac; done
"""


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all of PATH, but for what a shell script needs."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for needed in ("cp", "sleep"):
        found = next(path / needed for path in map(Path, ("/bin", "/usr/bin")) if (path / needed).exists())
        (folder / needed).symlink_to(found)
    monkeypatch.setenv("PATH", str(folder))
    return folder


def write_program(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text)
    (folder / name).chmod(0o755)


@pytest.mark.parametrize(("take", "refusal"), [(lambda: record(1), NoRecorderError), (photograph, NoCameraError)])
@pytest.mark.parametrize(
    ("program", "said"),
    [
        (None, "is installed"),
        ("#!/bin/sh\necho no device >&2\nexit 1\n", "no device"),
        ("#!/bin/sh\nexit 3\n", "status 3"),
        ("#!/bin/sh\nexit 0\n", "took nothing"),
    ],
)
def test_device_without_a_program_that_works_is_refused_with_the_reason(
    programs: Path, take, refusal: type[MatchkaError], program: str | None, said: str
):
    if program is not None:
        for name in ("arecord", "fswebcam"):
            write_program(programs, name, program)
    with pytest.raises(refusal) as refused:
        take()
    assert said in str(refused.value)
    assert "file" in refused.value.remedy


def test_program_that_never_ends_is_ended(programs: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(device, "GRACE_S", 0.0)
    write_program(programs, "fswebcam", "#!/bin/sh\nexec sleep 600\n")
    with pytest.raises(NoCameraError, match="took nothing"):
        photograph()


@pytest.mark.parametrize("made", [MICROPHONE, CAMERA])
def test_every_program_is_told_where_and_how_long(made: device.Device):
    for arguments in made.programs.values():
        said = arguments(Path("there.bin"), 7)
        assert "there.bin" in said
        assert made is CAMERA or "7" in said


@pytest.mark.parametrize(("program", "option"), [("arecord", ["--record", "2"]), ("rec", ["--record", "2"])])
def test_enroll_and_verify_from_the_microphone(
    small_server: SmallServer, programs: Path, tmp_path: Path, program: str, option: list[str]
):
    (tmp_path / "said.wav").write_bytes(sample(31))
    write_program(programs, program, COPYING.format(said=tmp_path / "arguments", source=tmp_path / "said.wav"))
    subject = f"heard:{program}"
    enrolled = run(small_server, "enroll", subject, *option, "--json", PATH=str(programs))
    assert json.loads(enrolled.stdout)["template_count"] == 1
    assert "recording for 2 s" in enrolled.stderr
    arguments = (tmp_path / "arguments").read_text().split()
    assert {"2", "16000"} <= set(arguments)
    for command in (["verify", subject], ["identify"]):
        found = run(small_server, *command, *option, "--json", "--model", "voice", PATH=str(programs))
        assert json.loads(found.stdout)["match"] in (True, subject)
    run(small_server, "subjects", "delete", subject)


@pytest.mark.parametrize("arguments", [[], ["a.wav", "--record", "2"], ["--record", "2", "--camera"]])
def test_command_with_no_source_or_two_exits_2(small_server: SmallServer, arguments: list[str]):
    done = run(small_server, "enroll", "nobody", *arguments)
    assert done.exit_code == FAILED
    assert "--camera" in done.stderr


def test_enroll_from_the_camera_asks_for_the_model_of_pictures(
    small_server: SmallServer, programs: Path, tmp_path: Path
):
    (tmp_path / "seen.jpg").write_bytes(sample(32))  # the server's model is of clips, and is named
    write_program(programs, "fswebcam", COPYING.format(said=tmp_path / "arguments", source=tmp_path / "seen.jpg"))
    unnamed = run(small_server, "enroll", "seen", "--camera", "--json", PATH=str(programs))
    assert json.loads(unnamed.stderr)["value"] == "face"
    named = run(small_server, "enroll", "seen", "--camera", "--model", "voice", PATH=str(programs))
    assert "enrolled seen: 1 new" in named.stdout
    run(small_server, "subjects", "delete", "seen")


@pytest.mark.parametrize("amplitude", [1.0, 0.1, 0.001])
def test_meter_shows_the_peak_of_the_last_moment_of_a_clip_that_grows(tmp_path: Path, amplitude: float):
    path = tmp_path / "clip.wav"
    assert level_db(path) is None
    path.write_bytes(b"\0" * 1044)
    assert level_db(path) == QUIETEST_DB
    loud_then = np.concatenate(
        [np.full(SAMPLE_RATE_HZ, 30_000), amplitude * 32_767 * np.sin(np.arange(SAMPLE_RATE_HZ))]
    )
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE_HZ)
        file.writeframes(loud_then.astype("<i2").tobytes())
    assert level_db(path) == pytest.approx(20 * np.log10(amplitude), abs=0.3)
    path.write_bytes(path.read_bytes()[:-1])  # in the middle of a sample
    assert level_db(path) == pytest.approx(20 * np.log10(amplitude), abs=0.3)


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_meter_and_seconds_left_show_on_a_terminal(programs: Path, tmp_path: Path):
    import pty
    import subprocess

    (tmp_path / "said.wav").write_bytes(sample(33))
    write_program(programs, "arecord", f'#!/bin/sh\nfor last; do :; done\ncp {tmp_path}/said.wav "$last"\nsleep 1\n')
    ours, theirs = pty.openpty()
    program = "from matchka.cli.capture.recorder import record; print(len(record(5)))"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TERM": "xterm", "COLUMNS": "100"}
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=theirs, env=environment
    ) as process:
        os.close(theirs)
        shown = b""
        while True:
            try:
                part = os.read(ours, 4096)
            except OSError:  # the other end is closed
                break
            if not part:
                break
            shown += part
        os.close(ours)
        assert process.stdout is not None
        assert int(process.stdout.read()) == len(sample(33))
    assert process.returncode == 0
    assert b"s left" in shown
    assert b" dB" in shown
