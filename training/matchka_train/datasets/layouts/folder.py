"""A folder per identity, clips or pictures anywhere below it; VoxCeleb's layout is this with folders named id12345."""

import re
from pathlib import Path
from typing import Final

from matchka_train.errors import DatasetError

AUDIO_SUFFIXES: Final = (".wav", ".flac", ".ogg", ".opus", ".mp3")
PICTURE_SUFFIXES: Final = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
SAMPLE_SUFFIXES: Final = AUDIO_SUFFIXES + PICTURE_SUFFIXES
UNREADABLE_SUFFIXES: Final = (".m4a", ".aac")  # VoxCeleb 2 as it is distributed; no decoder of ours reads them
VOXCELEB_IDENTITY: Final = re.compile(r"id\d{5}")


def read_folders(root: Path) -> list[tuple[Path, str]]:
    """Clips of `root/identity/**/clip`, or pictures where there is no clip at all.

    Returns: (clip, identity), sorted.

    Raises: DatasetError: no such folder, or no clip in it.
    """
    return _clips_below(_identity_folders(root))


def read_voxceleb(root: Path) -> list[tuple[Path, str]]:
    """Clips of VoxCeleb 1 or 2: `id12345/video/clip`, wherever below `root` those folders lie (wav/, dev/aac/, ...).

    Returns: (clip, identity), sorted.

    Raises: DatasetError: no such folder, no clip in it, or clips that are still m4a.
    """
    if not root.is_dir():
        raise _absent(root)
    folders = [path for path in root.rglob("id*") if path.is_dir() and VOXCELEB_IDENTITY.fullmatch(path.name)]
    return _clips_below(folders, root)


def _identity_folders(root: Path) -> list[Path]:
    if not root.is_dir():
        raise _absent(root)
    return [path for path in root.iterdir() if path.is_dir()]


def _clips_below(folders: list[Path], root: Path | None = None) -> list[tuple[Path, str]]:
    files = [(path, folder.name) for folder in folders for path in folder.rglob("*") if path.is_file()]
    for suffixes in (AUDIO_SUFFIXES, PICTURE_SUFFIXES):  # a picture among recordings is a cover or a plot
        samples = sorted((path, name) for path, name in files if path.suffix.lower() in suffixes)
        if samples:
            return samples
    unreadable = [path for path, _ in files if path.suffix.lower() in UNREADABLE_SUFFIXES]
    if unreadable:
        raise DatasetError(
            "The clips are m4a, which is not decoded here.",
            value=unreadable[0],
            remedy="Convert them first, for example with ffmpeg -i clip.m4a -ac 1 -ar 16000 clip.wav.",
        )
    raise DatasetError(
        f"There is no clip ({', '.join(AUDIO_SUFFIXES)}) and no picture ({', '.join(PICTURE_SUFFIXES)}) below the "
        "identities' folders.",
        value=root or (folders[0].parent if folders else "no folders"),
        remedy="Check the path and the layout.",
    )


def _absent(root: Path) -> DatasetError:
    return DatasetError("There is no such folder.", value=root, remedy="Check the data set's path in the recipe.")
