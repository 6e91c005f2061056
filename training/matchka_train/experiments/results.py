"""Finished runs of an experiment, one file each, so that an interrupted experiment goes on where it stopped."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from matchka.runtime.atomic_file import write_atomically
from matchka_train.errors import CheckpointError
from matchka_train.strict_model import StrictModel

T = TypeVar("T")


class RunFolder:
    """Where the runs of one experiment are kept.

    Args:
        folder: of the experiment.
        depends_on: everything its runs depend on; runs of other values are not taken for these.
    """

    def __init__(self, folder: Path, *depends_on: StrictModel) -> None:
        text = "\n".join(value.model_dump_json() for value in depends_on)
        self.path = folder / "runs" / hashlib.sha256(text.encode()).hexdigest()[:16]

    def kept_or(self, name: str, kind: type[T], compute: Callable[[], T]) -> T:
        """A run that was finished, or a new one, which is kept.

        Args:
            name: of the run, letters, digits and dashes.
            kind: its dataclass.
            compute: runs it.

        Raises: CheckpointError: the file of a finished run cannot be read.
        """
        path, adapter = self.path / f"{name}.json", TypeAdapter(kind)
        if path.is_file():
            try:
                return adapter.validate_json(path.read_bytes())
            except ValidationError as error:
                raise CheckpointError("The finished run cannot be read.", value=path, remedy="Delete it.") from error
        found = compute()
        write_atomically(path, adapter.dump_json(found, indent=1))
        return found
