"""One candidate from its start to its best projection: closed form at once, or through the training loop."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from rich.progress import Progress, TaskID

from matchka.vectors import FloatArray
from matchka_train.evaluation.validation import EmbedWindows, Report, report_as_json, validate
from matchka_train.features.features import Features
from matchka_train.fitting.batches import ClipSource, TrainingClips, count_steps
from matchka_train.fitting.loop import Plan, Trained, train
from matchka_train.fitting.schedule import OptimisationRecipe
from matchka_train.fitting.selection import Standing, standing
from matchka_train.metrics.bootstrap import Difference
from matchka_train.projections.families import ClosedFormRecipe, TrainedRecipe, begin, fit_closed_form
from matchka_train.projections.storage import ProjectionInfo
from matchka_train.run.candidates import CandidateRecipe
from matchka_train.run.checkpoint import CheckpointFolder
from matchka_train.run.recipe import Recipe
from matchka_train.run.tracking import TrackedFit, Tracker, tracking


@dataclass(frozen=True)
class Prepared:
    """Everything candidates are fitted and judged on.

    Attributes:
        train: features of every training clip and of its views.
        closed_form: those of the recordings that closed-form fits are made on.
        validation: features of each validation data set.
        published: the same of the backbone as it was published, which nothing of ours has touched.
        raw: accuracy of that backbone.
    """

    train: Features
    closed_form: Features
    validation: list[Features]
    published: list[Features]
    raw: Report


@dataclass(frozen=True)
class ShuffledFit:
    """The same candidate fitted on permuted labels: what it reaches without them.

    Attributes:
        report: its accuracy.
        standing: how it stands beside the raw backbone.
        differences: domain -> mean EER over dims, of the real fit beside this one.
    """

    report: Report
    standing: Standing
    differences: dict[str, Difference]

    @property
    def as_good(self) -> bool:
        """In no domain is the real fit significantly better, so it learned nothing from labels that shows."""
        return not any(difference.significantly_better for difference in self.differences.values())


@dataclass(frozen=True)
class Fitted:
    """A candidate's best projection.

    Attributes:
        candidate: what it is.
        module: (n, in_dim) -> (n, full_dim).
        report: its accuracy.
        standing: how it stands beside the raw backbone.
        history: its epochs.
        best_epoch: which of them it is.
        flat: whether its loss hardly fell.
        shuffled: the same on permuted labels; None where the recipe leaves that out, or it diverged.
    """

    candidate: CandidateRecipe
    module: torch.nn.Module
    report: Report
    standing: Standing
    history: list[dict[str, Any]]
    best_epoch: int
    flat: bool
    shuffled: ShuffledFit | None = None


def fit_candidate(
    candidate: CandidateRecipe,
    recipe: Recipe,
    prepared: Prepared,
    folder: CheckpointFolder,
    info: ProjectionInfo,
    progress: Progress,
) -> Fitted:
    """Fit one family with one loss; keeps its best projection, its latest state and its logs in the folder.

    Raises:
        DivergedError: the loss became NaN or infinite.
        CheckpointError: the folder holds another run.
    """
    folder.prepare()
    fit = TrackedFit(candidate, recipe, folder.path, folder.identity, progress)

    def judge(module: torch.nn.Module) -> Report:
        return validate(window_embedder(module), prepared.validation, recipe.dims)

    with tracking(fit) as tracker:
        if isinstance(candidate.projection, ClosedFormRecipe):
            trained = _closed_form(candidate.projection, recipe, prepared, judge)
            folder.keep_projection(trained.best, info)
            tracker.log(0, _tracked(trained.history[-1]))
        else:
            trained = _trained(
                candidate, candidate.projection, recipe, prepared, folder, info, judge, progress, tracker
            )
    report = judge(trained.best)
    return Fitted(
        candidate,
        trained.best,
        report,
        standing(report, prepared.raw),
        trained.history,
        trained.best_epoch,
        trained.flat,
    )


def window_embedder(projection: torch.nn.Module) -> EmbedWindows:
    """A projection as a function of float32 arrays: (windows, in_dim) -> (windows, full_dim)."""

    def embed(windows: FloatArray) -> FloatArray:
        with torch.inference_mode():
            projected: FloatArray = projection(torch.from_numpy(windows.copy())).numpy()
        return projected

    return embed


def _closed_form(
    family: ClosedFormRecipe, recipe: Recipe, prepared: Prepared, judge: Callable[[torch.nn.Module], Report]
) -> Trained:
    module = fit_closed_form(prepared.closed_form, family, recipe.dims[-1])
    report = judge(module)
    reached = standing(report, prepared.raw)
    entry = {
        "epoch": 0,
        "loss": None,
        "report": report_as_json(report),
        "excess": reached.excess,
        "ratio": reached.ratio,
    }
    return Trained(module, 0, [entry], flat=False)


def _trained(
    candidate: CandidateRecipe,
    family: TrainedRecipe,
    recipe: Recipe,
    prepared: Prepared,
    folder: CheckpointFolder,
    info: ProjectionInfo,
    judge: Callable[[torch.nn.Module], Report],
    progress: Progress,
    tracker: Tracker,
) -> Trained:
    projection = begin(prepared.closed_form, family, recipe.dims[-1], recipe.seed)
    clips = TrainingClips(prepared.train, pooled=projection.is_affine)
    plan = Plan(candidate.loss, recipe.optimisation, recipe.dims, recipe.seed)
    say_if_shortened(candidate.name, clips, recipe.optimisation, progress)
    task = progress.add_task(candidate.name, total=recipe.optimisation.all_epochs)
    every = recipe.optimisation.checkpoint_every_epochs
    checkpoint_store = _FolderCheckpointStore(folder, info, every, tracker, progress, task)
    trained = train(
        projection,
        clips,
        judge,
        prepared.raw,
        plan,
        checkpoint_store,
        lambda epochs: progress.update(task, completed=epochs),
    )
    progress.update(task, completed=recipe.optimisation.all_epochs)
    return trained


def say_if_shortened(name: str, clips: ClipSource, optimisation: OptimisationRecipe, progress: Progress) -> None:
    """Say that epochs are no passes over all clips, where `max_steps` makes them shorter."""
    whole = count_steps(clips, optimisation.identities_per_batch, optimisation.clips_per_identity)
    steps = optimisation.epoch_steps(whole)
    if steps < whole:
        progress.console.print(
            f"{name}: an epoch is {steps:,} steps, where a pass over all {len(clips):,} clips is {whole:,}, so that "
            f"{optimisation.all_epochs} epochs keep to optimisation.max_steps = {optimisation.max_steps:,}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )


@dataclass(frozen=True)
class _FolderCheckpointStore:
    """Keeps best, latest and every few epochs' projection; tells the tracker and moves the progress bar."""

    folder: CheckpointFolder
    info: ProjectionInfo
    every: int
    tracker: Tracker
    progress: Progress
    task: TaskID

    def resume(self) -> dict[str, Any] | None:
        return self.folder.state()

    def epoch_done(self, state: dict[str, Any], best: torch.nn.Module, current: torch.nn.Module) -> None:
        entry = state["history"][-1]
        epoch = entry["epoch"]
        self.folder.keep_projection(best, self.info)
        if epoch and epoch % self.every == 0:
            self.folder.keep_projection(current, self.info, f"epoch-{epoch:04d}.safetensors")
        self.folder.keep_state(state)
        self.tracker.log(epoch, _tracked(entry))
        loss = "" if entry["loss"] is None else f"loss {entry['loss']:.4f}, "
        line = f"epoch {epoch}, {loss}worst domain at {entry['ratio']:.3f} of the raw backbone's EER"
        self.progress.update(self.task, completed=epoch, line=line)


def _tracked(entry: dict[str, Any]) -> dict[str, float]:
    """What is told of an epoch: the loss, where there is one, and the error rates of validation."""
    loss = {} if entry["loss"] is None else {"loss": entry["loss"]}
    rates = {
        f"EER {domain}/{dim}": accuracy["eer"]
        for domain, per_dim in entry["report"].items()
        for dim, accuracy in per_dim.items()
    }
    return {**loss, "worst domain: EER / raw": entry["ratio"], **rates}
