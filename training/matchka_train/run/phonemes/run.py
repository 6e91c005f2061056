"""One training run, top to bottom: clips -> frames -> head -> phone error rates -> checkpoint and report."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import torch
from rich.progress import Progress, TaskID

from matchka.runtime.atomic_file import atomic_file
from matchka_train.backbones.frames.encoder import FrameEncoder
from matchka_train.datasets.phones import CLASSES
from matchka_train.fitting.ctc.clips import SpokenClips
from matchka_train.fitting.ctc.loop import TrainedHead, judge_head, train_head
from matchka_train.fitting.ctc.recipe import CtcRecipe
from matchka_train.heads.phones.head import PhoneHead
from matchka_train.heads.phones.storage import HeadInfo, encoder_info, save_head
from matchka_train.modalities.whole_clip import COPIES
from matchka_train.run.checkpoint import RECIPE_NAME, CheckpointFolder
from matchka_train.run.data import DataSets, read_data
from matchka_train.run.phonemes.prepared import PreparedClips, prepare_clips
from matchka_train.run.phonemes.recipe import PhonemeRecipe
from matchka_train.run.phonemes.report import HeadReport, ShuffledHead, write_head_report
from matchka_train.run.recipe import write_recipe
from matchka_train.run.record import record_of_content

HEAD_NAME: Final = "head.safetensors"
SHUFFLED_FOLDER: Final = "transcripts-shuffled"


def run_phonemes(
    recipe: PhonemeRecipe, encoders: Sequence[FrameEncoder], progress: Progress, *, fresh: bool = False
) -> HeadReport:
    """Train by a recipe and write the checkpoint; an interrupted run of the same recipe goes on where it stopped.

    Args:
        recipe: validated.
        encoders: those the recipe names.
        progress: shows how far it is.
        fresh: forget what an earlier run left in the folder.

    Raises: MatchkaError: a data set, an encoder or the fit is not what the recipe says; what was good is kept.
    """
    data = read_data(recipe.data, COPIES, recipe.data.cache_dir, progress)
    prepared = prepare_clips(recipe.data, encoders, data, progress)
    info = _info(recipe, encoders, data)
    folder = CheckpointFolder(recipe.output_dir, _identity(info, recipe))
    trained = _train(recipe, recipe.optimisation, prepared, info, folder, progress, fresh=fresh)
    shuffled = None
    if recipe.shuffled_epochs:
        shuffled = _train_shuffled(recipe, prepared, info, folder, progress, fresh=fresh)
    report = HeadReport(
        checkpoint=recipe.output_dir,
        held_out=judge_head(trained.best, prepared.held_out),
        reported={domain: judge_head(trained.best, clips) for domain, clips in prepared.reported.items()},
        seen_texts={domain: _seen(clips, prepared) for domain, clips in prepared.reported.items()},
        trained=trained,
        shuffled=shuffled,
        skipped=prepared.skipped,
    )
    write_recipe(folder.path / RECIPE_NAME, recipe)
    write_head_report(recipe, folder, report, info)
    return report


def shuffle_transcripts(clips: SpokenClips, seed: int) -> SpokenClips:
    """The same clips, each with the transcript of another one."""
    order = np.random.default_rng(seed).permutation(len(clips))
    return replace(clips, transcripts=tuple(clips.transcripts[number] for number in order))


def _train(
    recipe: PhonemeRecipe,
    optimisation: CtcRecipe,
    prepared: PreparedClips,
    info: HeadInfo,
    folder: CheckpointFolder,
    progress: Progress,
    *,
    fresh: bool,
) -> TrainedHead:
    if fresh:
        folder.clear_state()
    folder.prepare()
    torch.manual_seed(recipe.seed)  # the head starts at random
    head = info.build()
    task = progress.add_task(folder.path.name, total=optimisation.epochs)
    store = _FolderStore(folder, info, progress, task)
    return train_head(head, prepared.train, prepared.held_out, optimisation, recipe.seed, store)


def _train_shuffled(
    recipe: PhonemeRecipe,
    prepared: PreparedClips,
    info: HeadInfo,
    folder: CheckpointFolder,
    progress: Progress,
    *,
    fresh: bool,
) -> ShuffledHead:
    """A few epochs of the same fit on transcripts of other clips, judged on the true ones."""
    without = replace(prepared, train=shuffle_transcripts(prepared.train, recipe.seed))
    few = recipe.optimisation.model_copy(
        update={
            "epochs": recipe.shuffled_epochs,
            "warmup_epochs": min(recipe.optimisation.warmup_epochs, recipe.shuffled_epochs / 2),
        }
    )
    place = CheckpointFolder(folder.path / SHUFFLED_FOLDER, folder.identity)
    found = _train(recipe, few, without, info, place, progress, fresh=fresh)
    return ShuffledHead(few.epochs, judge_head(found.best, prepared.held_out))


@dataclass(frozen=True)
class _FolderStore:
    """Keeps the best head and the latest state; writes the progress line."""

    folder: CheckpointFolder
    info: HeadInfo
    progress: Progress
    task: TaskID

    def resume(self) -> dict[str, Any] | None:
        return self.folder.state()

    def epoch_done(self, state: dict[str, Any], best: PhoneHead) -> None:
        with atomic_file(self.folder.path / HEAD_NAME) as partial:
            save_head(partial, best, self.info)
        self.folder.keep_state(state)
        entry = state["history"][-1]
        line = f"epoch {entry['epoch']}, loss {entry['loss']:.4f}"
        if "per" in entry:
            line += f", PER {entry['per']:.4f} on held-out speakers, {entry['blank_share']:.0%} of frames blank"
        self.progress.update(self.task, completed=entry["epoch"], line=line)


def _seen(clips: SpokenClips, prepared: PreparedClips) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which clips have a text that is trained on or chose the epoch: bool, (clips,)."""
    known = {said.text for part in (prepared.train, prepared.held_out) for said in part.transcripts}
    return np.array([said.text in known for said in clips.transcripts])


def _info(recipe: PhonemeRecipe, encoders: Sequence[FrameEncoder], data: DataSets) -> HeadInfo:
    content = recipe.model_dump(mode="json", exclude={"encoders", "output_dir", "shuffled_epochs"})
    return HeadInfo(
        recipe=recipe.head,
        encoders=tuple(encoder_info(encoder) for encoder in encoders),
        classes=CLASSES,
        frame_period_s=encoders[0].frame_period_s,
        datasets=tuple(
            {"name": dataset.corpus, "source": dataset.source, "licence": dataset.licence, "use": use}
            for use, datasets in (("head trained", recipe.data.train), ("reported", recipe.data.validation))
            for dataset in datasets
        ),
        record=record_of_content(content, data),
    )


def _identity(info: HeadInfo, recipe: PhonemeRecipe) -> str:
    """Hash of all that training depends on: recipe, encoders and what the data sets held."""
    parts = [sorted(info.record.items()), info.encoders, recipe.seed]
    return hashlib.sha256(repr(parts).encode()).hexdigest()
