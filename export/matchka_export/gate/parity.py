"""Parity of an exported graph with its torch modules."""

from collections.abc import Iterable
from contextlib import suppress
from typing import Final

import numpy as np
import torch

from matchka.inference.session import Session
from matchka.modalities.modality import InputSpec
from matchka.vectors import FloatArray
from matchka_export.errors import ParityError
from matchka_train.datasets.file_bytes import read_file
from matchka_train.datasets.sample import Sample
from matchka_train.errors import DatasetError
from matchka_train.modalities.modality import RowReader, Rows
from matchka_train.modalities.skipped import Skipped

LARGEST_DIFFERENCE: Final = 1e-4  # of a component of an embedding of about unit length
BATCH_SIZES: Final = (1, 2, 7, 32)
MADE_ROWS: Final = 10


def made_rows(spec: InputSpec) -> Rows:
    """Rows like real ones, for machines that hold no samples."""
    return spec.example(MADE_ROWS, seed=0)


def real_rows(reader: RowReader, samples: Iterable[Sample]) -> list[Rows]:
    """Rows of real samples, those that cannot be read left out."""
    read: list[Rows] = []
    for sample in samples:
        with suppress(OSError, DatasetError):
            rows = reader.rows(read_file(sample.path), sample, "0" * 64)
            if not isinstance(rows, Skipped):
                read.append(rows)
    return read


def deal_batches(rows: Rows) -> list[Rows]:
    """Rows dealt into one batch of every size in BATCH_SIZES, used again from the start where they are too few."""
    batches: list[Rows] = []
    start = 0
    for size in BATCH_SIZES:
        batches.append(rows[np.arange(start, start + size) % len(rows)])
        start += size
    return batches


def require_parity(model: torch.nn.Module, session: Session, batches: Iterable[Rows]) -> float:
    """Compare the graph with the torch module on every batch.

    Args:
        model: the module that was exported.
        session: the written file, loaded again.
        batches: rows of the graph's input, (n, ...) each.

    Returns: the largest absolute difference of any component of any output, at most LARGEST_DIFFERENCE.

    Raises: ParityError: they differ by more, or the graph refuses a batch size.
    """
    largest = 0.0
    for batch in batches:
        with torch.inference_mode():
            returned = model(torch.tensor(batch))
        outputs = (returned,) if isinstance(returned, torch.Tensor) else returned
        for expected, found in zip(outputs, _run(session, batch), strict=True):
            largest = max(largest, _difference(expected.numpy(), found))
    return largest


def _difference(expected: FloatArray, found: FloatArray) -> float:
    if found.shape != expected.shape:
        raise ParityError(
            f"The graph must return {expected.shape} for a batch of {len(expected)} rows.",
            value=found.shape,
            remedy=_REMEDY,
        )
    difference = float(np.abs(found.astype(np.float64) - expected).max())
    if not difference <= LARGEST_DIFFERENCE:  # written so that NaN fails too
        raise ParityError(
            f"The graph may differ from torch by {LARGEST_DIFFERENCE:g} and does so by more, "
            f"in a batch of {len(expected)} rows.",
            value=f"{difference:.3g}",
            remedy=_REMEDY,
        )
    return difference


_REMEDY: Final = "Nothing was written; the module uses an operation the exporter translates differently."


def _run(session: Session, batch: Rows) -> list[FloatArray]:
    try:
        return list(session.run(batch).values())
    except Exception as error:  # ONNX Runtime's own classes derive from Exception alone; nothing is swallowed
        raise ParityError(
            f"The graph cannot take a batch of {len(batch)} rows.", value=error, remedy=_REMEDY
        ) from error
