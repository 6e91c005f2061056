"""The folder a run leaves, and what it needs to go on after an interruption."""

import json
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch

from matchka.runtime.atomic_file import atomic_file, write_atomically
from matchka_train.errors import CheckpointError
from matchka_train.projections.storage import ProjectionInfo, save_projection

PROJECTION_NAME: Final = "projection.safetensors"
RECIPE_NAME: Final = "recipe.yaml"
REPORT_NAME: Final = "report.json"
STATE_NAME: Final = "latest.pt"
# what torch's restricted unpickler raises on bytes that are not a state depends on the bytes
_DAMAGED: Final = (OSError, RuntimeError, EOFError, LookupError, ValueError, TypeError, pickle.UnpicklingError)


@dataclass(frozen=True)
class CheckpointFolder:
    """Where a run writes; every file appears under its name only when it is whole.

    Attributes:
        path: the folder.
        identity: hash of the recipe and of the training features; a state of another one is never continued.
    """

    path: Path
    identity: str

    def prepare(self) -> None:
        """Make the folder, or refuse one that holds another run.

        Raises: CheckpointError: it holds the state of another recipe or other data.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        state = self._read_state()
        if state is not None and state["identity"] != self.identity:
            raise CheckpointError(
                "The folder holds a run of another recipe or other data.",
                value=self.path,
                remedy="Give another output_dir, or add --fresh to replace that run.",
            )

    def clear_state(self) -> None:
        """Forget an interrupted run, so that the next one starts anew."""
        (self.path / STATE_NAME).unlink(missing_ok=True)

    def state(self) -> dict[str, Any] | None:
        """What keep_state kept, or None where a run starts anew.

        Raises: CheckpointError: the file is damaged.
        """
        state = self._read_state()
        return None if state is None else dict(state["content"])

    def keep_state(self, content: dict[str, Any]) -> None:
        """Keep everything the next epoch depends on: tensors, numbers, text, and lists and dictionaries of them."""
        with atomic_file(self.path / STATE_NAME) as partial:
            torch.save({"identity": self.identity, "content": content}, partial)

    def keep_projection(self, module: torch.nn.Module, info: ProjectionInfo, name: str = PROJECTION_NAME) -> Path:
        """Write a projection: the best so far, or a copy of an epoch's under another name."""
        path = self.path / name
        with atomic_file(path) as partial:
            save_projection(partial, module, info)
        return path

    def keep_report(self, report: dict[str, Any]) -> None:
        """Write the numbers."""
        write_atomically(self.path / REPORT_NAME, json.dumps(report, indent=1).encode())

    def _read_state(self) -> dict[str, Any] | None:
        path = self.path / STATE_NAME
        if not path.is_file():
            return None
        try:
            return dict(torch.load(path, weights_only=True))
        except _DAMAGED as error:
            raise CheckpointError(
                f"The state {path} cannot be read.", value=error, remedy="Add --fresh to start anew."
            ) from error
