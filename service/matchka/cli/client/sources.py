"""Where the samples of a command come from: files, the microphone, or the camera."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matchka.cli.capture.camera import photograph
from matchka.cli.capture.recorder import record
from matchka.cli.client.options import format_of, model_for_all
from matchka.client.calls import Sample
from matchka.errors import InvalidFieldError


@dataclass(frozen=True)
class Given:
    """What a command was given.

    Attributes:
        samples: files, or what a device took.
        names: of the samples, for people.
        model: that was named, or the one for their kind.
        sample_format: that was named, or that the names of files state, if they do.
    """

    samples: list[Sample]
    names: list[str]
    model: str
    sample_format: str | None = None

    @property
    def sample(self) -> Sample:
        """The only one."""
        return self.samples[0]


def samples_of(
    files: Sequence[Path] | None,
    record_s: int | None,
    camera: bool,
    model: str | None = None,
    sample_format: str | None = None,
) -> Given:
    """The samples of files, or one of a device.

    Raises:
        InvalidFieldError: none is named, or files and a device, or both devices; or files of several kinds or formats.
        NoRecorderError, NoCameraError: the device cannot be used.
    """
    named = bool(files) + (record_s is not None) + camera
    if named != 1:
        raise InvalidFieldError(
            "A sample comes from a file, from --record or from --camera.",
            value=f"{named} of them",
            remedy="Name one of them.",
        )
    if record_s is not None:
        return Given([record(record_s)], ["the recorded clip"], model or "voice")
    if camera:
        return Given([photograph()], ["the picture taken"], model or "face")
    chosen = list(files or ())
    names = [file.name for file in chosen]
    return Given([*chosen], names, model_for_all(chosen, model), sample_format or format_of(chosen))


def sample_of(
    file: Path | None,
    record_s: int | None,
    camera: bool,
    model: str | None = None,
    sample_format: str | None = None,
) -> Given:
    """The same for a command that takes one sample."""
    return samples_of([] if file is None else [file], record_s, camera, model, sample_format)
