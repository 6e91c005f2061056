"""Kaldi's data folder: `wav.scp` (utterance -> file) and `utt2spk` (utterance -> identity)."""

from pathlib import Path

from matchka_train.errors import DatasetError


def read_kaldi(folder: Path) -> list[tuple[Path, str]]:
    """The utterances of a Kaldi data folder; relative files are relative to the folder.

    Args: folder: holds `wav.scp` and `utt2spk`; `segments` is not supported.

    Returns: (file, identity), in the order of `utt2spk`.

    Raises: DatasetError: a file is missing or malformed, an utterance has no recording, or a recording is a command.
    """
    if (folder / "segments").exists():
        raise DatasetError(
            "A Kaldi folder with segments is not read.", value=folder / "segments", remedy="Cut the recordings first."
        )
    recordings = _read_map(folder / "wav.scp")
    clips = []
    for utterance, identity in _read_map(folder / "utt2spk").items():
        if utterance not in recordings:
            raise DatasetError(
                f"An utterance of {folder / 'utt2spk'} is not in wav.scp.", value=utterance, remedy="Fix the folder."
            )
        place = recordings[utterance]
        if place.endswith("|"):
            raise DatasetError(
                "An entry of wav.scp is a command; commands are never run.",
                value=f"{utterance} {place}",
                remedy="Write the recordings to files (wav-copy, or sox) and list those.",
            )
        clips.append((folder / place, identity))  # an absolute place stays as it is
    return clips


def _read_map(path: Path) -> dict[str, str]:
    """Lines of `key value`; the value may hold spaces."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path} cannot be read.", value=error, remedy="Check the data set's path.") from error
    entries: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        fields = line.split(maxsplit=1)
        if not fields:
            continue
        if len(fields) != 2 or fields[0] in entries:
            raise DatasetError(
                f"Line {number} of {path} is not `key value` with a new key.", value=line, remedy="Fix that line."
            )
        entries[fields[0]] = fields[1].strip()
    return entries
