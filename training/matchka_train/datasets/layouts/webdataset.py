"""Tar files of samples as WebDataset writes them: files of one sample share their name up to its first dot."""

import json
from collections.abc import Mapping
from pathlib import Path

from matchka_train.datasets.file_bytes import read_file, read_members
from matchka_train.datasets.layouts.folder import SAMPLE_SUFFIXES
from matchka_train.errors import DatasetError

LABEL_SUFFIX = ".cls"
JSON_SUFFIX = ".json"


def read_webdataset(root: Path, subject_key: str) -> list[tuple[Path, str]]:
    """Clips and pictures in the tar files of a folder; what else they hold is left aside.

    The identity is what the sample's `.json` has under `subject_key`, or else the text of its `.cls`.

    Args:
        root: the folder, or one tar file.
        subject_key: of the JSON object.

    Returns: (`archive.tar/name`, identity), sorted; matchka_train.datasets.file_bytes.read_file reads such a path.

    Raises: DatasetError: no tar file; one is damaged; a sample has no identity, or several clips.
    """
    archives = [root] if root.is_file() else sorted(root.glob("*.tar"))
    if not archives:
        raise DatasetError("There is no tar file.", value=root, remedy="Check the data set's path and layout.")
    return sorted(clip for archive in archives for clip in _clips_in(archive, subject_key))


def _clips_in(archive: Path, subject_key: str) -> list[tuple[Path, str]]:
    samples: dict[str, dict[str, str]] = {}
    for name in read_members(archive):
        folder, slash, file = name.rpartition("/")
        stem, dot, extension = file.partition(".")
        if dot:
            samples.setdefault(folder + slash + stem, {})[dot + extension.lower()] = name
    found = []
    for key, files in samples.items():
        clips = [name for suffix, name in files.items() if suffix in SAMPLE_SUFFIXES]
        if len(clips) > 1:
            raise DatasetError(
                f"The sample {key} of {archive} has several clips or pictures.",
                value=", ".join(clips),
                remedy="Give each a key of its own, or write the archive with one of them.",
            )
        if clips:
            found.append((archive / clips[0], _identity(archive, key, files, subject_key)))
    return found


def _identity(archive: Path, key: str, files: Mapping[str, str], subject_key: str) -> str:
    try:
        if JSON_SUFFIX in files:
            content = json.loads(read_file(archive / files[JSON_SUFFIX]))
            if isinstance(content, dict) and isinstance(content.get(subject_key), str | int):
                return str(content[subject_key])
        if LABEL_SUFFIX in files:
            return read_file(archive / files[LABEL_SUFFIX]).decode("utf-8").strip()
    except ValueError as error:
        raise DatasetError(
            f"The label of the sample {key} of {archive} cannot be read.", value=error, remedy="Write it as UTF-8."
        ) from error
    raise DatasetError(
        f"The sample {key} of {archive} has no identity.",
        value=", ".join(sorted(files)),
        remedy=f"Give it a {JSON_SUFFIX} with the key {subject_key!r} (subject_column), or a {LABEL_SUFFIX}.",
    )
