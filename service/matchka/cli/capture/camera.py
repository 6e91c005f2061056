"""One picture from the camera, after a countdown on a terminal."""

import sys
import time
from typing import Final

from rich.console import Console

from matchka.cli.capture.device import Device
from matchka.errors import NoCameraError

COUNTDOWN_S: Final = 3
SKIPPED: Final = 15  # frames: a camera first finds exposure and white balance
FFMPEG_INPUT: Final = {
    "darwin": ("-f", "avfoundation", "-framerate", "30", "-i", "default:none"),
}.get(sys.platform, ("-f", "v4l2", "-i", "/dev/video0"))

CAMERA: Final = Device(
    "camera",
    "picture.jpg",
    {
        "fswebcam": lambda path, _: ("-q", "--no-banner", "--skip", str(SKIPPED), "--jpeg", "95", str(path)),
        "ffmpeg": lambda path, _: (
            *("-nostdin", "-loglevel", "error", *FFMPEG_INPUT),
            *("-vf", f"select=gte(n\\,{SKIPPED})", "-frames:v", "1", "-q:v", "2", "-y", str(path)),
        ),
        "imagesnap": lambda path, _: ("-q", "-w", "1", str(path)),
    },
    NoCameraError,
)


def photograph() -> bytes:
    """Take a picture with the default camera.

    Returns: a JPEG file.

    Raises: NoCameraError: no program that is known is installed, or it fails.
    """
    console = Console(stderr=True)
    if console.is_terminal:
        with console.status("") as status:
            for left in range(COUNTDOWN_S, 0, -1):
                status.update(f"look at the camera: {left}")
                time.sleep(1.0)
    return CAMERA.take(0, lambda _path, _passed_s: None)
