"""CN-Celeb: `data/id00010/singing-01-001.flac` for training, `eval/{enroll,test}/id00800-...` for evaluation."""

import re
from pathlib import Path
from typing import Final

from matchka_train.datasets.layouts.folder import AUDIO_SUFFIXES
from matchka_train.errors import DatasetError

IDENTITY: Final = re.compile(r"id\d{5}")


def read_cnceleb(root: Path) -> list[tuple[Path, str]]:
    """Clips of CN-Celeb 1 or 2, or of a part of one (`data`, `eval/enroll`, `eval/test`).

    The identity is the folder's name where clips lie in folders, and the beginning of the file's name in eval.

    Returns: (clip, identity), sorted.

    Raises: DatasetError: no such folder, or no clip of such a name in it.
    """
    if not root.is_dir():
        raise DatasetError("There is no such folder.", value=root, remedy="Check the data set's path in the recipe.")
    clips = []
    for path in root.rglob("*"):
        if path.suffix.lower() in AUDIO_SUFFIXES and path.is_file():
            found = IDENTITY.fullmatch(path.parent.name) or IDENTITY.match(path.name)
            if found:
                clips.append((path, found.group()))
    if not clips:
        raise DatasetError(
            "There is no clip of an identity id00000 to id99999 below the folder.",
            value=root,
            remedy="Give the folder that holds data/ or eval/.",
        )
    return sorted(clips)
