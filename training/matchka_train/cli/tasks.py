"""What `matchka-train run` can train: a row for each task of a recipe."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, Generic, TypeVar

from rich.console import RenderableType
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table

from matchka_train.cli.tables import accuracy_table, candidate_table, identification_table
from matchka_train.errors import OptionError, RecipeError
from matchka_train.features.compute import ONE_PROCESS, Compute, Device, compute_of
from matchka_train.run.enhancer.recipe import EnhancerRecipe
from matchka_train.run.enhancer.report import probe_rows
from matchka_train.run.enhancer.run import ENHANCER_NAME, run_enhancer
from matchka_train.run.phonemes.recipe import PhonemeRecipe
from matchka_train.run.phonemes.report import per_rows
from matchka_train.run.phonemes.run import run_phonemes
from matchka_train.run.recipe import Recipe
from matchka_train.run.run import run
from matchka_train.strict_model import StrictModel

RecipeT = TypeVar("RecipeT", bound=StrictModel)
DEFAULT_TASK: Final = "embedding"  # of recipes written before there was a second task


@dataclass(frozen=True)
class TrainingTask(Generic[RecipeT]):
    """A kind of training run.

    Attributes:
        name: of the row, as a recipe's `task`.
        recipe: what its recipes hold.
        run: trains by a recipe, showing how far it is, forgets an interrupted run where the third argument says so, and
            computes features as the last one says; returns what is shown at the end.
        has_choice: of processes and device; without it all is computed by this process on the CPU.
    """

    name: str
    recipe: type[RecipeT]
    run: Callable[[RecipeT, Progress, bool, Compute], Sequence[RenderableType]]
    has_choice: bool = False

    def compute(self, workers: int | None, device: Device) -> Compute:
        """What a command asks for.

        Args:
            workers: processes; None leaves it to the task.
            device: cpu, cuda or auto.

        Raises:
            OptionError: the task has no such choice.
            DeviceError: torch sees no GPU, and one is asked for.
        """
        if self.has_choice:
            return compute_of(workers, device)
        for option, value, only in (("--workers", workers or 1, 1), ("--device", device, Device.CPU)):
            if value != only:
                raise OptionError(
                    f"The task {self.name} computes in one process, on the CPU.",
                    value=f"{option} {value}",
                    remedy=f"Leave {option} out.",
                )
        return ONE_PROCESS


def task_of(content: Any) -> TrainingTask[Any]:
    """The row of a recipe.

    Args: content: what the recipe's file holds.

    Raises: RecipeError: no such task.
    """
    name = content.get("task", DEFAULT_TASK) if isinstance(content, dict) else DEFAULT_TASK
    if name not in TRAINING_TASKS:
        raise RecipeError("There is no such task.", value=name, remedy=f"Set task to {', '.join(TRAINING_TASKS)}.")
    return TRAINING_TASKS[name]


def _run_embedding(recipe: Recipe, progress: Progress, fresh: bool, compute: Compute) -> list[RenderableType]:
    outcome = run(recipe, recipe.backbone.open(), progress, fresh=fresh, compute=compute)
    shown: list[RenderableType] = []
    if len(outcome.fitted) > 1 or outcome.fitted[0].shuffled is not None:
        shown.append(candidate_table(outcome.fitted))
    shown.append(accuracy_table(outcome.projected, outcome.raw))
    if outcome.identified:
        shown.append(identification_table(outcome.identified, outcome.raw_identified))
    closing = f"{outcome.skipped} samples skipped. Checkpoint and report: {outcome.checkpoint}"
    return [*shown, *_notes(outcome.notes), closing]


def _run_phonemes(recipe: PhonemeRecipe, progress: Progress, fresh: bool, _compute: Compute) -> list[RenderableType]:
    report = run_phonemes(recipe, [encoder.open() for encoder in recipe.encoders], progress, fresh=fresh)
    header, *rows = per_rows(report, recipe.seed)
    table = Table(title="Phone error rates, greedy decoding")
    for column in header:
        table.add_column(column, justify="left" if column == header[0] else "right")
    for row in rows:
        table.add_row(*row)
    closing = f"{len(report.skipped)} clips skipped. Checkpoint and report: {report.checkpoint}"
    return [table, *_notes(report.notes()), closing]


def _run_enhancer(recipe: EnhancerRecipe, progress: Progress, fresh: bool, _compute: Compute) -> list[RenderableType]:
    header, *rows = probe_rows(run_enhancer(recipe, progress, fresh=fresh), recipe.dims[-1])
    table = Table(title="Small probes against samples of full size; columns with * say nothing of identities")
    for column in header:
        table.add_column(column, justify="left" if column in header[:2] else "right")
    for row in rows:
        table.add_row(*row)
    return [table, f"Enhancer and report: {recipe.output_dir / ENHANCER_NAME}"]


def _notes(notes: Sequence[str]) -> list[str]:
    return [f"[yellow]note:[/] {escape(note)}" for note in notes]


TRAINING_TASKS: Final[Mapping[str, TrainingTask[Any]]] = MappingProxyType(
    {
        task.name: task
        for task in (
            TrainingTask(DEFAULT_TASK, Recipe, _run_embedding, has_choice=True),
            TrainingTask("phonemes", PhonemeRecipe, _run_phonemes),
            TrainingTask("enhancer", EnhancerRecipe, _run_enhancer),
        )
    }
)
