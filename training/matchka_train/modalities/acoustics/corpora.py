"""Corpora of noise and of room impulse responses, as they are distributed; and plain folders of either."""

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Final, TypeAlias

from matchka_train.datasets.layouts.folder import AUDIO_SUFFIXES
from matchka_train.errors import DatasetError

RIRS_NOISES: Final = "RIRS_NOISES"  # the folder in the archive; its lists name files from there on


class SoundKind(StrEnum):
    """What a recording of such a corpus is used as."""

    NOISE = "noise"
    MUSIC = "music"
    BABBLE = "babble"
    ROOM = "room"


# of each kind the parts that a corpus has; one part is drawn from as often as another, however many files it holds
Parts: TypeAlias = Mapping[SoundKind, Sequence[Sequence[Path]]]


def read_sounds(layout: str, root: Path, kind: SoundKind) -> list[list[Path]]:
    """The files of one kind in a corpus, part by part, none of them empty.

    Args:
        layout: musan, rirs_noises or folder.
        root: the corpus.
        kind: what they are used as.

    Raises: DatasetError: no such folder, the layout does not have the kind, or there is no file of it.
    """
    if not root.is_dir():
        raise DatasetError("There is no such folder.", value=root, remedy="Check the augmentation's paths.")
    parts = SOUND_LAYOUTS[layout](root)
    if kind not in parts:
        raise DatasetError(
            f"The layout {layout} has no {kind}.", value=root, remedy=f"It has {', '.join(parts)}; take one of them."
        )
    found = [sorted(part) for part in parts[kind] if part]
    if not found:
        raise DatasetError(
            f"There is no {kind} of the layout {layout}.",
            value=root,
            remedy=f"Check the path and the layout; recordings end in {', '.join(AUDIO_SUFFIXES)}.",
        )
    return found


def _read_musan(root: Path) -> Parts:
    """`noise/`, `music/` and `speech/`, with recordings anywhere below them; babble is made of speech."""
    folders = {SoundKind.NOISE: "noise", SoundKind.MUSIC: "music", SoundKind.BABBLE: "speech"}
    return {kind: [_recordings_below(root / name)] for kind, name in folders.items()}


def _read_rirs_noises(root: Path) -> Parts:
    """What the lists beside the recordings name: `rir_list` and `noise_list`, one list a part."""
    inside = root / RIRS_NOISES if (root / RIRS_NOISES).is_dir() else root
    lists = {
        SoundKind.ROOM: [
            *sorted(inside.glob("simulated_rirs/*/rir_list")),
            inside / "real_rirs_isotropic_noises" / "rir_list",
        ],
        SoundKind.NOISE: [
            inside / name / "noise_list" for name in ("pointsource_noises", "real_rirs_isotropic_noises")
        ],
    }
    return {kind: [_listed(path, inside) for path in paths if path.is_file()] for kind, paths in lists.items()}


def _read_folder(root: Path) -> Parts:
    """Recordings anywhere below; the recipe says what they are."""
    return {kind: [_recordings_below(root)] for kind in SoundKind}


SOUND_LAYOUTS: Final[Mapping[str, Callable[[Path], Parts]]] = MappingProxyType(
    {"musan": _read_musan, "rirs_noises": _read_rirs_noises, "folder": _read_folder}
)


def _recordings_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.suffix.lower() in AUDIO_SUFFIXES and path.is_file()]


def _listed(path: Path, root: Path) -> list[Path]:
    """The files of a list; a line ends with a path from the folder of the corpus on."""
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        name = Path(line.split()[-1])
        file = root / (name.relative_to(RIRS_NOISES) if name.parts[0] == RIRS_NOISES else name)
        if name.is_absolute() or ".." in name.parts or not file.is_file():
            raise DatasetError(
                f"Line {number} of {path} names no file of the corpus.",
                value=str(name),
                remedy="Unpack the whole corpus, or take the line out.",
            )
        found.append(file)
    return found
