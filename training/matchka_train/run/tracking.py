"""Where the course of a fit is told while it goes on: TensorBoard's log always, MLflow where its address is set."""

import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Final, Protocol

from rich.progress import Progress
from torch.utils.tensorboard import SummaryWriter

from matchka.errors import MissingPackageError, extra_required
from matchka.runtime.atomic_file import write_atomically
from matchka_train.errors import TrackingError
from matchka_train.run.candidates import CandidateRecipe
from matchka_train.run.recipe import Recipe

MLFLOW_ADDRESS: Final = "MLFLOW_TRACKING_URI"
_RUN_NAME: Final = "mlflow-run.txt"
# MLflow tries a server that is away seven times, minutes in all, and tells its makers that it was used
_MLFLOW_MANNERS: Final = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_DISABLE_TELEMETRY": "true"}

_FAILURES: Final = Exception  # what its stores raise is of no one class
_REFUSED: Final = re.compile(r"[^\w\-. :/]")  # in names of metrics
_ENDS: Final[dict[type[BaseException] | None, str]] = {None: "FINISHED", KeyboardInterrupt: "KILLED"}


class Tracker(Protocol):
    """Keeps named numbers of each epoch."""

    def log(self, epoch: int, values: Mapping[str, float]) -> None:
        """Keep what was measured after an epoch; no failure ends the fit."""


@dataclass(frozen=True)
class TrackedFit:
    """What trackers are told of a fit before it begins.

    Attributes:
        candidate: what is fitted.
        recipe: of the run.
        folder: of the candidate.
        identity: hash of the recipe and of the training features; runs of another one are not gone on with.
        progress: where notes for people are printed.
    """

    candidate: CandidateRecipe
    recipe: Recipe
    folder: Path
    identity: str
    progress: Progress


class Trackers:
    """Tells several trackers the same."""

    def __init__(self, trackers: list[Tracker]) -> None:
        self._trackers = trackers

    def log(self, epoch: int, values: Mapping[str, float]) -> None:
        """As each tracker does."""
        for tracker in self._trackers:
            tracker.log(epoch, values)


def require_tracking() -> None:
    """Ask whether what is set up answers, before hours are spent.

    Raises:
        MissingPackageError: MLflow's address is set and its package is not installed.
        TrackingError: nothing answers there.
    """
    if not os.environ.get(MLFLOW_ADDRESS):
        return
    try:
        _mlflow().MlflowClient().search_experiments(max_results=1)
    except MissingPackageError:
        raise
    except _FAILURES as error:
        raise TrackingError(
            f"{MLFLOW_ADDRESS} is set, and MLflow does not answer there: {error}",
            value=os.environ[MLFLOW_ADDRESS],
            remedy=f"Start the tracking server, or unset {MLFLOW_ADDRESS} to train without it.",
        ) from error


def forget_runs(folder: Path) -> None:
    """Let the next fit in a candidate's folder be told as a run of its own."""
    (folder / _RUN_NAME).unlink(missing_ok=True)


@contextmanager
def tracking(fit: TrackedFit) -> Iterator[Tracker]:
    """Tell all trackers that are set up of a fit, until the end of the block.

    Raises: MissingPackageError: MLflow's address is set and its package is not installed.
    """
    with ExitStack() as stack:
        opened: list[Tracker] = [stack.enter_context(_TensorBoard(fit.folder))]
        if os.environ.get(MLFLOW_ADDRESS):
            opened.append(stack.enter_context(_Mlflow(fit)))
        yield Trackers(opened)


def _mlflow() -> ModuleType:
    for name, value in _MLFLOW_MANNERS.items():
        os.environ.setdefault(name, value)
    with extra_required("cpu,train,mlflow"):
        import mlflow.entities  # an optional package
    return mlflow


class _TensorBoard:
    def __init__(self, folder: Path) -> None:
        self._writer = SummaryWriter(str(folder / "tensorboard"))

    def log(self, epoch: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, epoch)

    def __enter__(self) -> "_TensorBoard":
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()


class _Mlflow:
    """One run of MLflow. A server that fails is told of once, and the fit goes on without it."""

    def __init__(self, fit: TrackedFit) -> None:
        self._progress, self._entities = fit.progress, _mlflow().entities
        self._run = ""
        try:
            self._client = _mlflow().MlflowClient()
            self._run = self._resumed(fit) or self._begun(fit)
            params = [self._entities.Param(name, value) for name, value in _described(fit).items()]
            self._client.log_batch(self._run, params=params)
            self._client.log_text(self._run, fit.recipe.model_dump_json(indent=1), "recipe.json")
        except _FAILURES as error:
            self._give_up(error)

    def log(self, epoch: int, values: Mapping[str, float]) -> None:
        now_ms = int(time.time() * 1000)
        metrics = [
            self._entities.Metric(_REFUSED.sub("_", name), value, now_ms, epoch) for name, value in values.items()
        ]
        if self._run:
            try:
                self._client.log_batch(self._run, metrics=metrics)
            except _FAILURES as error:
                self._give_up(error)

    def __enter__(self) -> "_Mlflow":
        return self

    def __exit__(self, kind: type[BaseException] | None, _error: object, _trace: TracebackType | None) -> None:
        if self._run:
            try:
                self._client.set_terminated(self._run, _ENDS.get(kind, "FAILED"))
            except _FAILURES as error:
                self._give_up(error)

    def _resumed(self, fit: TrackedFit) -> str | None:
        """The run that an interrupted fit was told to, running again; None where there is none, or it was deleted."""
        kept = fit.folder / _RUN_NAME
        run, _, identity = kept.read_text().partition(" ") if kept.is_file() else ("", "", "")
        if identity != fit.identity:
            return None
        try:
            self._client.update_run(run, status="RUNNING")
        except _FAILURES:
            return None
        return run

    def _begun(self, fit: TrackedFit) -> str:
        found = self._client.get_experiment_by_name(fit.recipe.name)
        experiment = found.experiment_id if found else self._client.create_experiment(fit.recipe.name)
        run: str = self._client.create_run(experiment, run_name=fit.candidate.name).info.run_id
        write_atomically(fit.folder / _RUN_NAME, f"{run} {fit.identity}".encode())
        return run

    def _give_up(self, error: Exception) -> None:
        self._run = ""
        self._progress.console.print(f"MLflow is not told any more of this fit: {error}", markup=False, style="yellow")


def _described(fit: TrackedFit) -> dict[str, str]:
    """What runs are compared by, as text."""
    return {
        "backbone": fit.recipe.backbone.kind,
        "dims": ", ".join(map(str, fit.recipe.dims)),
        "seed": str(fit.recipe.seed),
        "projection": fit.candidate.projection.model_dump_json(),
        **({} if fit.candidate.is_closed_form else {"loss": fit.candidate.loss.model_dump_json()}),
    }
