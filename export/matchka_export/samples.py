"""Recordings and pictures of a few people for demonstrations and parity, out of pinned packages; none of them ships."""

import io
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import soundfile
from rich.console import Console

from matchka_train.weights.package_catalogue import FACE_RECOGNITION, POCKETSPHINX
from matchka_train.weights.packages import Package, fetch_package, read_archived

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
_PICTURES: Final = f"face_recognition-{FACE_RECOGNITION.version}/tests/test_images"
FACE_PICTURES: Final = {
    **{f"obama/{name}": f"{_PICTURES}/{name}.jpg" for name in ("obama", "obama2", "obama3")},
    "biden/biden": f"{_PICTURES}/biden.jpg",
}


@dataclass(frozen=True)
class SampleSet:
    """Files of one package.

    Attributes:
        package: the archive.
        members: person/sample -> member of the archive.
        suffix: of the files written.
        note: what a reader should know about them.
    """

    package: Package
    members: Mapping[str, str]
    suffix: str
    note: str


VOICES: Final = SampleSet(POCKETSPHINX, VOICE_CLIPS, ".wav", "librivox/ is a public-domain LibriVox reading.")
FACES: Final = SampleSet(
    FACE_RECOGNITION,
    FACE_PICTURES,
    ".jpg",
    "The package's licence covers its code; the pictures are those its tests use.",
)


def write_samples(samples: SampleSet, target: Path, downloads: Path, console: Console) -> list[Path]:
    """Write samples as `target/<person>/<sample><suffix>`, unless they are all there already.

    Args:
        samples: which.
        target: the folder to make; it appears only whole.
        downloads: the folder that keeps the package file.
        console: where progress goes.

    Returns: the files, sorted.

    Raises:
        DownloadError: the package is not in the cache and cannot be fetched.
        ChecksumError: it is another package.
    """
    files = sorted(target / f"{name}{samples.suffix}" for name in samples.members)
    if all(file.is_file() for file in files):
        return files
    archive = fetch_package(samples.package, downloads, console)
    with console.status("Taking the samples out of the archive"):
        contents = read_archived(archive, samples.members.values())
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".samples-", dir=target.parent) as folder:
            staged = Path(folder) / target.name
            for name, member in samples.members.items():
                file = staged / f"{name}{samples.suffix}"
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(_as_wav(contents[member]) if member.endswith(".raw") else contents[member])
            (staged / NOTE_NAME).write_text(_note(samples), encoding="utf-8")
            shutil.rmtree(target, ignore_errors=True)
            staged.replace(target)
    return files


def _as_wav(raw: bytes) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, np.frombuffer(raw, "<i2"), RAW_SAMPLE_RATE_HZ, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


def _note(samples: SampleSet) -> str:
    package = samples.package
    return (
        f"These files come from the source archive of {package.name} {package.version} "
        f"(sha256 {package.sha256}, {package.licence}).\n{samples.note}\n"
        + "".join(f"{name}{samples.suffix}  {member}\n" for name, member in sorted(samples.members.items()))
    )
