"""A clip from the microphone, with a level meter and the seconds left on a terminal."""

import math
import sys
from array import array
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from matchka.cli.capture.device import Device
from matchka.errors import NoRecorderError

SAMPLE_RATE_HZ: Final = 16_000
SAMPLE_BYTES: Final = 2
METER_S: Final = 0.2  # of the clip's end that the meter shows
FULL_SCALE: Final = 32_768
HEADER_BYTES: Final = 44  # of a WAV file; a longer one adds a few samples that are none
QUIETEST_DB: Final = -60.0
FFMPEG_INPUT: Final = {"darwin": ("avfoundation", ":default")}.get(sys.platform, ("alsa", "default"))

MICROPHONE: Final = Device(
    "microphone",
    "clip.wav",
    {  # one channel of 16 bits into a WAV file
        "arecord": lambda path, seconds: (
            *("-q", "-t", "wav", "-f", "S16_LE", "-c", "1", "-r", str(SAMPLE_RATE_HZ)),
            *("-d", str(seconds), str(path)),
        ),
        "rec": lambda path, seconds: (
            *("-q", "-b", "16", "-c", "1", "-r", str(SAMPLE_RATE_HZ), str(path)),
            *("trim", "0", str(seconds)),
        ),
        "ffmpeg": lambda path, seconds: (
            *("-nostdin", "-loglevel", "error", "-f", FFMPEG_INPUT[0], "-i", FFMPEG_INPUT[1]),
            *("-t", str(seconds), "-ac", "1", "-ar", str(SAMPLE_RATE_HZ), "-c:a", "pcm_s16le"),
            *("-flush_packets", "1", "-y", str(path)),  # so that the meter sees it at once
        ),
    },
    NoRecorderError,
)


def record(seconds: int) -> bytes:
    """Record from the default microphone.

    Args: seconds: how long.

    Returns: a WAV file.

    Raises: NoRecorderError: no program that is known is installed, or it fails.
    """
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[level]}"))
    if not console.is_terminal:
        console.print(f"recording for {seconds} s …", highlight=False)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        meter = progress.add_task(f"recording: {seconds} s left", total=-QUIETEST_DB, level="")

        def watch(path: Path, passed_s: float) -> None:
            level = level_db(path)
            left = max(0.0, seconds - passed_s)
            progress.update(meter, description=f"recording: {left:.0f} s left")
            if level is not None:
                shown = f"{level:.0f} dB" if level > QUIETEST_DB else "nothing is heard"
                progress.update(meter, completed=level - QUIETEST_DB, level=shown)

        return MICROPHONE.take(seconds, watch)


def level_db(path: Path) -> float | None:
    """The peak at the end of a clip that is being written, in dB of full scale; None where there is nothing yet.

    Silence is QUIETEST_DB.
    """
    wanted = round(METER_S * SAMPLE_RATE_HZ) * SAMPLE_BYTES
    try:
        content = path.read_bytes()[HEADER_BYTES:]
    except OSError:  # the program has not begun
        return None
    whole = len(content) - len(content) % SAMPLE_BYTES
    samples = array("h", content[max(0, whole - wanted) : whole])
    if sys.byteorder == "big":
        samples.byteswap()
    if not samples:
        return None
    peak = max(abs(sample) for sample in samples)
    return max(QUIETEST_DB, 20 * math.log10(peak / FULL_SCALE)) if peak else QUIETEST_DB
