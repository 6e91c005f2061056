"""Real recordings of a few people for demonstrations and parity, out of a pinned package; nothing of them ships."""

import io
import shutil
import tempfile
from pathlib import Path
from typing import Final

import numpy as np
import soundfile
from rich.console import Console

from training.backbones.packages import POCKETSPHINX, fetch_package, read_archived

RAW_SAMPLE_RATE_HZ: Final = 16_000  # the raw files are signed 16-bit mono at this rate, and do not say so
NOTE_NAME: Final = "SOURCE.txt"
_TEST: Final = f"pocketsphinx-{POCKETSPHINX.version}/test"
_READER: Final = f"{_TEST}/data/librivox/sense_and_sensibility_01_austen_64kb"

# person/clip -> member of the archive; every person is another one
VOICE_CLIPS: Final = {
    **{f"librivox/{number}": f"{_READER}-{number}.wav" for number in ("0870", "0880", "0890", "0920", "0930")},
    **{f"cards/{number}": f"{_TEST}/data/cards/{number}.wav" for number in ("001", "002", "003", "004", "005")},
    **{f"goforward/{name}": f"{_TEST}/data/{name}.raw" for name in ("goforward", "numbers", "something")},
    **{f"forever/{name}": f"{_TEST}/data/forever/{name}.wav" for name in ("input_2_16k", "input_4_16k")},
    "chan3/chan3": f"{_TEST}/regression/chan3.wav",
}


def write_samples(target: Path, downloads: Path, console: Console) -> list[Path]:
    """Write the recordings as `target/<person>/<clip>.wav`, unless they are all there already.

    Args:
        target: the folder to make; it appears only whole.
        downloads: the folder that keeps the package file.
        console: where progress goes.

    Returns: the clips, sorted.

    Raises:
        DownloadError: the package is not in the cache and cannot be fetched.
        ChecksumError: it is another package.
    """
    clips = sorted(target / f"{name}.wav" for name in VOICE_CLIPS)
    if all(clip.is_file() for clip in clips):
        return clips
    archive = fetch_package(POCKETSPHINX, downloads, console)
    with console.status("Taking the recordings out of the archive"):
        contents = read_archived(archive, VOICE_CLIPS.values())
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".samples-", dir=target.parent) as folder:
            staged = Path(folder) / target.name
            for name, member in VOICE_CLIPS.items():
                file = staged / f"{name}.wav"
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(_as_wav(contents[member]) if member.endswith(".raw") else contents[member])
            (staged / NOTE_NAME).write_text(_note(), encoding="utf-8")
            shutil.rmtree(target, ignore_errors=True)
            staged.replace(target)
    return clips


def _as_wav(raw: bytes) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, np.frombuffer(raw, "<i2"), RAW_SAMPLE_RATE_HZ, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


def _note() -> str:
    return (
        f"These recordings come from the source archive of {POCKETSPHINX.name} {POCKETSPHINX.version} "
        f"(sha256 {POCKETSPHINX.sha256}, {POCKETSPHINX.licence}).\n"
        "librivox/ is a public-domain LibriVox reading.\n"
        + "".join(f"{name}.wav  {member}\n" for name, member in sorted(VOICE_CLIPS.items()))
    )
