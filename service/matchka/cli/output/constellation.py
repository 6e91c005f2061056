"""Q over I of a recording's samples, as text or as a picture. It needs the server's packages; the client does not."""

from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from matchka.errors import InvalidFieldError
from matchka.modalities.iq.formats import read_recording
from matchka.modalities.iq.formats.recording import LengthLimits
from matchka.modalities.iq.modality import options_for

CELLS: Final = 40  # rows and columns of dots; a character holds 4 x 2 of them
MOST_SAMPLES: Final = 20_000  # drawn, evenly spread: more would only fill the plot
OUTSIDE: Final = 0.001  # share of samples left out of the frame, so that one spike does not shrink the rest
PICTURE_CELLS: Final = 256
PIXELS_PER_CELL: Final = 2
AXIS_GREY: Final = 60
BRAILLE: Final = 0x2800  # the character without dots
DOTS: Final = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # of its rows and columns, by Unicode

Counts = npt.NDArray[np.int64]


def samples_of(file: Path, sample_format: str | None) -> npt.NDArray[np.complex64]:
    """The samples of a file, complex64, (n,), as the service reads them.

    Raises:
        InvalidFieldError: the file cannot be read.
        MatchkaError: it is no recording; see read_recording.
    """
    options = options_for("probe", {"sample_format": sample_format} if sample_format else {})
    try:
        data = file.read_bytes()
    except OSError as error:
        raise InvalidFieldError("The file cannot be read.", value=file, remedy=f"Check the path ({error}).") from error
    any_length = LengthLimits(0, len(data))  # the service says which it takes
    return read_recording(data, options.sample_format, any_length).samples


def histogram_of(samples: npt.NDArray[np.complex64], cells: int = CELLS) -> Counts:
    """Samples in each cell of a square around zero, (cells, cells): rows of falling Q, columns of rising I."""
    drawn = samples[:: max(1, samples.size // MOST_SAMPLES)]
    half = float(np.quantile(np.maximum(np.abs(drawn.real), np.abs(drawn.imag)), 1 - OUTSIDE)) or 1.0
    edges = np.linspace(-half, half, cells + 1)
    counts, _, _ = np.histogram2d(-drawn.imag, drawn.real, bins=(edges, edges))
    return counts.astype(np.int64)


def as_text(counts: Counts) -> str:
    """Dots where a cell holds at least half as many samples as those that hold any do on average.

    >>> print(as_text(np.eye(4, dtype=np.int64)))
    ⠑⢄
    """
    least = max(1.0, float(counts[counts > 0].mean()) / 2) if counts.any() else 1.0
    rows, columns = counts.shape
    lines = []
    for top in range(0, rows, 4):
        codes = np.full(-(-columns // 2), BRAILLE)
        for row, dots in enumerate(DOTS[: rows - top]):
            for column, dot in enumerate(dots):
                shown = counts[top + row, column::2] >= least
                codes[: shown.size] += dot * shown
        lines.append("".join(map(chr, codes)))
    return "\n".join(lines)


def write_png(samples: npt.NDArray[np.complex64], path: Path) -> None:
    """Write the same as a picture, brighter where there are more samples, with both axes.

    Raises: InvalidFieldError: the file cannot be written.
    """
    counts = histogram_of(samples, PICTURE_CELLS)
    bright = np.log1p(counts) / np.log1p(max(1, int(counts.max()))) * 255
    grey = bright.astype(np.uint8).repeat(PIXELS_PER_CELL, axis=0).repeat(PIXELS_PER_CELL, axis=1)
    middle = len(grey) // 2
    grey[middle] = np.maximum(grey[middle], AXIS_GREY)
    grey[:, middle] = np.maximum(grey[:, middle], AXIS_GREY)
    try:
        Image.fromarray(grey).save(path)
    except OSError as error:
        raise InvalidFieldError(
            "The plot cannot be written.", value=path, remedy=f"Check the path ({error})."
        ) from error
