"""What the commands that call a service share: its address, and the options that several of them have."""

from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

from matchka.cli.client.completion import one_of, served_models
from matchka.cli.output.report import say
from matchka.client import Client, Patience
from matchka.errors import InvalidFieldError, MissingPackageError, extra_required

TOLD_S: Final = 1.0  # a pause that somebody at a terminal would notice
# of radio; but for their names, nothing says what they hold
BARE_SAMPLES: Final = {".cf32": "cf32", ".ci16": "ci16", ".cu8": "cu8"}
RADIO_SUFFIXES: Final = (*BARE_SAMPLES, ".sigmf", ".npy")
PICTURE_SUFFIXES: Final = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".heic", ".heif")

Url = Annotated[str | None, typer.Option("--url", help="Where the service is; MATCHKA_URL by default.")]
ModelName = Annotated[
    str | None,
    typer.Option(
        "--model",
        help="Bundle to use; by the names of files if left out: face, radio or voice.",
        autocompletion=served_models,
    ),
]
FaceOption = Annotated[
    str | None,
    typer.Option(
        "--face",
        help="Which face: dominant, only, aligned; for identify also all.",
        autocompletion=one_of("dominant", "only", "aligned", "all"),
    ),
]
FormatOption = Annotated[
    str | None,
    typer.Option("--sample-format", help="Format of a radio recording: cf32, ci16 or cu8, unless its name ends so."),
]
Dim = Annotated[int | None, typer.Option("--dim", help="A trained dim; full_dim by default.")]
SampleFile = Annotated[
    Path, typer.Argument(help="Audio (WAV, FLAC, OGG, MP3), a picture (JPEG, PNG, WebP, BMP), or what --model takes.")
]
OptionalFile = Annotated[
    Path | None,
    typer.Argument(help="Audio (WAV, FLAC, OGG, MP3), a picture (JPEG, PNG, WebP, BMP), or what --model takes."),
]
SampleFiles = Annotated[list[Path], typer.Argument(help="1 to 32 files of one kind.")]
OptionalFiles = Annotated[list[Path] | None, typer.Argument(help="1 to 32 files of one kind.")]
Record = Annotated[
    int | None,
    typer.Option(
        "--record", metavar="SECONDS", min=1, max=60, help="Take a clip from the microphone in place of a file."
    ),
]
Camera = Annotated[bool, typer.Option("--camera", help="Take a picture from the camera in place of a file.")]
MaxFmr = Annotated[float | None, typer.Option("--max-fmr", help="False match rate to keep; 0.001 by default.")]


def model_for(file: Path) -> str:
    """The default model for a kind of file; one whose name says nothing is taken for a recording of a voice.

    >>> [model_for(Path(name)) for name in ("a.JPG", "a.heic", "a.cf32", "a.wav")]
    ['face', 'face', 'radio', 'voice']
    """
    suffix = file.suffix.lower()
    if suffix in RADIO_SUFFIXES:
        return "radio"
    return "face" if suffix in PICTURE_SUFFIXES else "voice"


def model_for_all(files: Sequence[Path], named: str | None = None) -> str:
    """The model for all files of a call.

    Args:
        files: of the call, one at least.
        named: by the caller, where one is; then names of files do not matter.

    Raises: InvalidFieldError: the files are of several kinds: a call has one model, which takes one of them.

    >>> model_for_all([Path("a.png"), Path("b.jpg")]), model_for_all([Path("a.png"), Path("b")], "face")
    ('face', 'face')
    """
    models = {model_for(file) for file in files}
    if named is None and len(models) > 1:
        raise InvalidFieldError(
            "The files are of several kinds by their names, and a call has one model.",
            value=", ".join(f"{file.name} ({model_for(file)})" for file in files),
            remedy="Send those of each kind by themselves, or say --model where the names are wrong.",
        )
    return named or models.pop()


def format_of(files: Sequence[Path]) -> str | None:
    """The format of bare samples that the names of files state; files that show their format need none.

    Raises: InvalidFieldError: they are not of one format: a call has one, by which all of its files are read.

    >>> format_of([Path("take.cf32")]), format_of([Path("a.sigmf"), Path("b.sigmf")])
    ('cf32', None)
    """
    formats = {BARE_SAMPLES.get(file.suffix.lower()) for file in files}
    if len(formats) > 1:
        raise InvalidFieldError(
            "The files are not of one format, by which all of a call are read.",
            value=", ".join(file.name for file in files),
            remedy="Send those of each format by themselves, or say --sample-format where the names are wrong.",
        )
    return formats.pop() if formats else None


def connected(url: str | None, console: Console | None = None) -> Client:
    """A client for the service of the command line or the environment, which waits where the service has no room.

    Args:
        url: of the command line.
        console: that tells of pauses, where something else is shown on it; one of its own by default.

    Raises: SettingsError: no address, or, where the server is installed too, a variable that it would refuse.
    """
    with suppress(MissingPackageError), extra_required("cpu"):
        from matchka.settings import read_settings

        read_settings(url=url)
    tell = partial(_tell_pause, console or Console(stderr=True))
    return Client(url, patience=Patience(repeats_safe_calls=True, tell=tell))


def _tell_pause(console: Console, pause_s: float) -> None:
    if pause_s >= TOLD_S:
        say(console, f"the service has no room; asking again in {pause_s:.0f} s")
