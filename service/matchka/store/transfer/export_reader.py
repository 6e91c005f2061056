"""Reads and checks an export: each subject's line with its embeddings."""

import zipfile
from collections.abc import Iterator
from typing import IO, Final

import numpy as np
from pydantic import ValidationError

from matchka.errors import BackupError, InvalidSubjectIdError
from matchka.store.integrity.check import UNIT_TOLERANCE
from matchka.store.integrity.digest import LITTLE_ENDIAN_FLOAT32
from matchka.store.subject_id import check_subject_id
from matchka.store.transfer.exporter import EMBEDDINGS_NAME, SUBJECTS_NAME, ExportManifest, SubjectLine
from matchka.vectors import FloatArray, squared_lengths

GET_ANOTHER: Final = "Export again."
TEMPLATES_AT_ONCE: Final = 1_000  # stored in one transaction, for which enrolments and the change feed wait: some 0.1 s


def batches_of(archive: zipfile.ZipFile, manifest: ExportManifest) -> Iterator[tuple[list[SubjectLine], FloatArray]]:
    """Subjects, some thousand templates at once; of one subject all of them.

    Yields: lines, and their templates' embeddings, float32, (templates, full_dim), of unit length.

    Raises: BackupError: lines and rows do not fit each other or the manifest, or a row is no embedding.
    """
    subjects = templates = 0
    with archive.open(SUBJECTS_NAME) as lines, archive.open(EMBEDDINGS_NAME) as rows:
        _require_header(rows, manifest)
        for batch in _groups(lines):
            count = sum(len(line.templates) for line in batch)
            yield batch, _read_rows(rows, count, manifest.full_dim, templates)
            subjects += len(batch)
            templates += count
        found = (subjects, templates, len(rows.read(1)))
    if found != (manifest.subjects, manifest.templates, 0):
        raise BackupError(
            f"The export names {manifest.subjects} subjects and {manifest.templates} templates.",
            value=found[:2],
            remedy=GET_ANOTHER,
        )


def _groups(lines: IO[bytes]) -> Iterator[list[SubjectLine]]:
    group: list[SubjectLine] = []
    count = 0
    for number, text in enumerate(lines, start=1):
        try:
            line = SubjectLine.model_validate_json(text)
            is_normal = check_subject_id(line.subject_id) == line.subject_id
        except (ValidationError, InvalidSubjectIdError) as error:
            raise BackupError(
                f"Line {number} of {SUBJECTS_NAME} is not one of an export.", value=error, remedy=GET_ANOTHER
            ) from error
        if not is_normal:
            raise BackupError(
                f"The subject_id in line {number} of {SUBJECTS_NAME} is not in Unicode's composed form (NFC).",
                value=line.subject_id,
                remedy="Normalise it.",
            )
        group.append(line)
        count += len(line.templates)
        if count >= TEMPLATES_AT_ONCE:
            yield group
            group, count = [], 0
    if group:
        yield group


def _require_header(file: IO[bytes], manifest: ExportManifest) -> None:
    try:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran_order, dtype = read(file)
    except ValueError as error:
        raise BackupError(f"{EMBEDDINGS_NAME} is no NumPy file.", value=error, remedy=GET_ANOTHER) from error
    expected = ((manifest.templates, manifest.full_dim), False, LITTLE_ENDIAN_FLOAT32)
    if (shape, fortran_order, dtype) != expected:
        raise BackupError(
            f"{EMBEDDINGS_NAME} must hold little-endian float32 {expected[0]}, row after row.",
            value=f"{dtype.str} {shape}",
            remedy=GET_ANOTHER,
        )


def _read_rows(file: IO[bytes], count: int, full_dim: int, start: int) -> FloatArray:
    data = file.read(count * full_dim * LITTLE_ENDIAN_FLOAT32.itemsize)
    if len(data) != count * full_dim * LITTLE_ENDIAN_FLOAT32.itemsize:
        raise BackupError(f"{EMBEDDINGS_NAME} has fewer rows than {SUBJECTS_NAME} has templates.", remedy=GET_ANOTHER)
    rows = np.frombuffer(data, LITTLE_ENDIAN_FLOAT32).reshape(count, full_dim).astype(np.float32)
    with np.errstate(invalid="ignore", over="ignore"):
        lengths = np.sqrt(squared_lengths(rows))
    is_unit = np.abs(lengths - 1.0) <= UNIT_TOLERANCE  # false for NaN and infinity
    if not np.all(is_unit):
        worst = int(np.argmin(is_unit))
        raise BackupError(
            f"Row {start + worst} of {EMBEDDINGS_NAME} is not of unit length.",
            value=f"{lengths[worst]:.6g}",
            remedy=GET_ANOTHER,
        )
    return rows
