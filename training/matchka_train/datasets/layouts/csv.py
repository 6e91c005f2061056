"""A CSV file with one row per clip: a path, an identity, and whatever other columns it has."""

import csv
from collections.abc import Sequence
from pathlib import Path

from matchka_train.errors import DatasetError


def read_manifest(path: Path, path_column: str, subject_column: str, where: dict[str, str]) -> list[tuple[Path, str]]:
    """Read the clips of a CSV manifest.

    Args:
        path: the CSV file (UTF-8, first row names the columns); clips are relative to its folder.
        path_column: the column that holds the clip's path.
        subject_column: the column that holds the identity.
        where: column -> value that a row must have to be kept.

    Returns: (clip, identity), in the order of the file.

    Raises: DatasetError: no such file, a column is missing, or no row is left.
    """
    columns, rows = _read(path)
    _require_columns(path, columns, (path_column, subject_column, *where))
    kept = _kept(rows, where)
    return [(path.parent / row[path_column], row[subject_column]) for row in kept]


def read_columns(
    path: Path, path_column: str, columns: Sequence[str], where: dict[str, str]
) -> dict[Path, tuple[str, ...]]:
    """What columns say of each clip.

    Args:
        path: as read_manifest.
        path_column: the column that holds the clip's path.
        columns: the columns.
        where: column -> value that a row must have.

    Returns: clip -> its values, in the order of `columns`.

    Raises: DatasetError: no such file, or a column is missing.
    """
    known, rows = _read(path)
    _require_columns(path, known, (path_column, *columns, *where))
    return {path.parent / row[path_column]: tuple(row[column] for column in columns) for row in _kept(rows, where)}


def read_identity_column(path: Path, subject_column: str, column: str, where: dict[str, str]) -> dict[str, str]:
    """What a column says of each identity; nothing where the file has no such column.

    Args:
        path: as read_manifest.
        subject_column: the column that holds the identity.
        column: the column, of one value for each identity.
        where: column -> value that a row must have.

    Raises: DatasetError: no such file, no such identities, or an identity has two values.
    """
    columns, rows = _read(path)
    _require_columns(path, columns, (subject_column, *where))
    found: dict[str, str] = {}
    for row in _kept(rows, where) if column in columns else ():
        known = found.setdefault(row[subject_column], row[column])
        if known != row[column]:
            raise DatasetError(
                f"The column {column} of {path} says two things of the identity {row[subject_column]}.",
                value=f"{known!r} and {row[column]!r}",
                remedy="Group by a column that belongs to people, or correct it.",
            )
    return found


def _require_columns(path: Path, columns: Sequence[str], needed: Sequence[str]) -> None:
    for column in needed:
        if column not in columns:
            raise DatasetError(
                f"The manifest {path} has no such column; it has {', '.join(columns)}.",
                value=column,
                remedy="Name the columns in the recipe (path_column, subject_column, where).",
            )


def _kept(rows: list[dict[str, str]], where: dict[str, str]) -> list[dict[str, str]]:
    return [row for row in rows if all(row[column] == value for column, value in where.items())]


def _read(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, restval="")
            columns = reader.fieldnames or []
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(
            f"The manifest {path} cannot be read.", value=error, remedy="Check the path in the recipe."
        ) from error
    return list(columns), rows
