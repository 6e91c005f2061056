"""A clip from the microphone, by a recording program that the machine has."""

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from matchka.errors import NoRecorderError

SAMPLE_RATE_HZ: Final = 16_000
# program -> its arguments for one channel into a WAV file, for so many seconds
RECORDERS: Final[dict[str, Callable[[Path, int], Sequence[str]]]] = {
    "arecord": lambda path, seconds: (
        *("-q", "-t", "wav", "-f", "S16_LE", "-c", "1", "-r", str(SAMPLE_RATE_HZ)),
        *("-d", str(seconds), str(path)),
    ),
    "rec": lambda path, seconds: (
        *("-q", "-c", "1", "-b", "16", "-r", str(SAMPLE_RATE_HZ), str(path)),
        *("trim", "0", str(seconds)),
    ),
}


def record(seconds: int) -> bytes:
    """Record from the default microphone.

    Args: seconds: how long.

    Returns: a WAV file.

    Raises: NoRecorderError: no program that is known is installed, or it fails.
    """
    program = next((known for known in RECORDERS if shutil.which(known)), None)
    if program is None:
        raise NoRecorderError(
            "No program for recording is installed.",
            value=", ".join(RECORDERS),
            remedy="Install one of them, or name a file to record into by other means.",
        )
    with tempfile.TemporaryDirectory(prefix="matchka-clip-") as folder:
        path = Path(folder) / "clip.wav"
        command = [str(shutil.which(program)), *RECORDERS[program](path, seconds)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - ours
        if done.returncode or not path.is_file():
            raise NoRecorderError(
                f"{program} could not record.",
                value=done.stderr.strip() or done.returncode,
                remedy="Check the microphone, or name a file to record into by other means.",
            )
        return path.read_bytes()
