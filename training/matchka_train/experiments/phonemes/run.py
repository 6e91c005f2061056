"""Runs the benchmark: every arm with every seed, people's marks by folds of speakers, and late fusion."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from rich.progress import Progress

from matchka.vectors import FloatArray
from matchka_train.datasets.phones import CLASSES
from matchka_train.datasets.splits import flat
from matchka_train.datasets.transcripts import read_transcripts
from matchka_train.errors import EncoderAbsentError, RecipeError
from matchka_train.evaluation.late_fusion import SequenceChoice, by_frame, sequence_choice
from matchka_train.experiments.phonemes.marked import marked_run
from matchka_train.experiments.phonemes.people import ADULT_AGE, Values, read_ages, read_marks
from matchka_train.experiments.phonemes.recipe import ArmRecipe, BenchmarkRecipe
from matchka_train.experiments.phonemes.results import ArmRun, Benchmark, LateRun, MarkedRun
from matchka_train.experiments.results import RunFolder
from matchka_train.features.frames import extract_frames
from matchka_train.fitting.ctc.clips import SpokenClips, spoken_clips
from matchka_train.fitting.ctc.loop import read_clips, train_head
from matchka_train.fitting.ctc.recipe import CtcRecipe
from matchka_train.heads.phones.head import PhoneHead
from matchka_train.heads.phones.storage import HeadInfo, encoder_info, load_head, save_head
from matchka_train.metrics.phone_confusions import confusions
from matchka_train.metrics.phone_errors import Phones, collapse, edit_distance, phone_errors
from matchka_train.modalities.audio import AUDIO
from matchka_train.run.data import DataSets, read_data
from matchka_train.run.phonemes.prepared import PreparedClips, prepare_clips
from matchka_train.run.phonemes.recipe import PhonemeRecipe
from matchka_train.run.phonemes.run import shuffle_transcripts

MOST_CONFUSIONS: Final = 20
LINE_FOLDS: Final = 5  # of the speakers that a line is fitted to and tried on


class _NoStore:
    """Heads of an experiment are kept when they are done."""

    def resume(self) -> dict[str, Any] | None:
        return None

    def epoch_done(self, state: dict[str, Any], best: PhoneHead) -> None:
        """Nothing."""


class BenchmarkRun:
    """The data of a base recipe, and what is trained on them.

    Args:
        base: its data, optimisation and held-out speakers are used.
        recipe: what is compared.
        output_dir: keeps every finished run and head, so that the same call goes on where it stopped.
        progress: shows how far it is.
    """

    def __init__(self, base: PhonemeRecipe, recipe: BenchmarkRecipe, output_dir: Path, progress: Progress) -> None:
        self._base, self._recipe, self._progress = base, recipe, progress
        # an arm that is added, or another number of seeds, leaves finished runs as they are
        self._folder = RunFolder(output_dir, base, BenchmarkRecipe(marks=recipe.marks, mark_folds=recipe.mark_folds))
        self._data: DataSets = read_data(base.data, AUDIO.copies, base.data.cache_dir, progress)
        self._ages = read_ages(base.data.validation, self._data.validation)
        self._prepared_by: dict[str, PreparedClips] = {}
        self._posteriors_by: dict[tuple[str, int], list[FloatArray]] = {}
        self._choices_of: dict[tuple[tuple[str, str], int], list[SequenceChoice]] = {}

    def run(self) -> Benchmark:
        """All of it.

        Raises: MatchkaError: data or encoders are not there.
        """
        keep = self._folder.kept_or
        absent = self._absent()
        runs = [
            keep(f"{arm.name}-seed-{seed}", ArmRun, partial(self._arm, arm, seed))
            for arm in self._recipe.arms
            for seed in (self._recipe.seeds if arm.seeds is None else arm.seeds)
            if arm.name not in absent
        ]
        late = [
            keep(
                f"late-{first}-{second}-{round(100 * weight)}-seed-{seed}",
                LateRun,
                partial(self._late, (first, second), seed, weight),
            )
            for first, second in self._recipe.late
            for seed in self._recipe.seeds
            for weight in self._recipe.late_weights
            if not absent.keys() & {first, second}
        ]
        marks = self._recipe.marks
        marked = [
            keep(f"marks-{name}", MarkedRun, partial(self._marked, self._arm_named(name), marks))
            for name in self._recipe.marked_arms
            if marks is not None and name not in absent
        ]
        return Benchmark(tuple(runs), tuple(marked), tuple(late), absent)

    def _absent(self) -> dict[str, str]:
        """The arms with an encoder of a package that is not installed, and what to install."""
        found = {}
        for arm in self._recipe.arms:
            try:
                self._info(arm)
            except EncoderAbsentError as error:
                found[arm.name] = str(error)
        return found

    def _arm(self, arm: ArmRecipe, seed: int) -> ArmRun:
        clips = self._reported(arm)
        head = self._trained(arm, seed)
        posteriors = read_clips(head, clips)
        read = [said.phones for said in clips.transcripts]
        errors = phone_errors(posteriors, read, clips.subjects)
        is_child = np.array([self._ages[subject] < ADULT_AGE for subject in clips.subjects])
        decoded = [collapse(clip.argmax(axis=1)) for clip in posteriors]
        names = ("", *CLASSES[1:])
        wrong = [(pair, count) for pair, count in confusions(decoded, read).most_common() if pair[0] != pair[1]]
        return ArmRun(
            arm=arm.name,
            seed=seed,
            per=errors.rate,
            child_per=errors.select(is_child).rate if is_child.any() else None,
            adult_per=errors.select(~is_child).rate if not is_child.all() else None,
            blank_share=errors.blank_share,
            parameters=sum(tensor.numel() for tensor in head.parameters()),
            layer_weights=head.layer_weights(),
            confusions=[(names[one], names[other], count) for (one, other), count in wrong[:MOST_CONFUSIONS]],
        )

    def _late(self, arms: tuple[str, str], seed: int, weight: float) -> LateRun:
        first, second = (self._posteriors(name, seed) for name in arms)
        read = [said.phones for said in self._reported(self._arm_named(arms[0])).transcripts]
        frames = [by_frame(one, other, weight) for one, other in zip(first, second, strict=True)]
        sequences = [choice.at(weight) for choice in self._choices(arms, seed)]
        return LateRun(arms, seed, weight, _rate(frames, read), _rate(sequences, read))

    def _choices(self, arms: tuple[str, str], seed: int) -> list[SequenceChoice]:
        """What two arms decode, and how likely both find it; all weights of late fusion take the same."""
        if (arms, seed) not in self._choices_of:
            first, second = (self._posteriors(name, seed) for name in arms)
            pairs = zip(first, second, strict=True)
            self._choices_of[arms, seed] = [sequence_choice(one, other) for one, other in pairs]
        return self._choices_of[arms, seed]

    def _posteriors(self, name: str, seed: int) -> list[FloatArray]:
        """What an arm reads in the reported clips; several weights of late fusion take the same."""
        if (name, seed) not in self._posteriors_by:
            arm = self._arm_named(name)
            self._posteriors_by[name, seed] = read_clips(self._trained(arm, seed), self._reported(arm))
        return self._posteriors_by[name, seed]

    def _marked(self, arm: ArmRecipe, marks: Path) -> MarkedRun:
        """Speakers who did not train a head are judged by it."""
        clips, values = self._marked_clips(arm, read_marks(marks))
        if self._recipe.mark_folds is None:
            chose = set(self._prepared(arm).held_out.subjects)
            numbers = [number for number, subject in enumerate(clips.subjects) if subject in chose]
            clips, values = clips.select(numbers), values[numbers]
            folds = self._folds(clips, LINE_FOLDS)
            found = read_clips(self._trained(arm, self._recipe.seeds[0]), clips)
        else:
            folds = self._folds(clips, self._recipe.mark_folds)
            found = self._read_by_others(arm, clips, folds)
        return marked_run(
            arm,
            tuple(encoder.sha256 for encoder in self._info(arm).encoders),
            clips,
            values,
            found,
            folds,
            read_ages(self._base.data.train, self._data.train),
            self._base.seed,
        )

    def _folds(self, clips: SpokenClips, count: int) -> npt.NDArray[np.int64]:
        """The part of the speakers that each clip belongs to: (clips,)."""
        speakers = sorted(set(clips.subjects))
        order = np.random.default_rng(self._base.seed).permutation(len(speakers))
        fold_of = {speakers[number]: place % count for place, number in enumerate(order)}
        return np.array([fold_of[who] for who in clips.subjects])

    def _read_by_others(self, arm: ArmRecipe, clips: SpokenClips, folds: npt.NDArray[np.int64]) -> list[FloatArray]:
        """Log-posteriors of each part, by a head that was trained on the others."""
        posteriors: dict[int, FloatArray] = {}
        for fold in np.unique(folds):
            inside, outside = np.flatnonzero(folds == fold).tolist(), np.flatnonzero(folds != fold).tolist()
            judged = clips.select(inside)
            fit = partial(self._fit_last, arm, self._recipe.seeds[0], clips.select(outside), judged)
            head = self._kept_head(f"{arm.name}-fold-{fold}", arm, fit)
            posteriors |= dict(zip(inside, read_clips(head, judged), strict=True))
        return [posteriors[number] for number in range(len(clips))]

    def _marked_clips(self, arm: ArmRecipe, given: dict[str, float]) -> tuple[SpokenClips, Values]:
        """Training clips with a mark, and the marks."""
        recipe, data = self._base.data, self._data
        samples = [sample for sample in flat(data.train) if sample.path.stem in given]
        said = {
            sample: transcript
            for dataset, some in zip(recipe.train, data.train, strict=True)
            for sample, transcript in zip(some, read_transcripts(dataset, some), strict=True)
        }
        encoded = [
            extract_frames(samples, encoder.open(), recipe.cache_dir, recipe.limits, data.hashes, self._progress)
            for encoder in arm.encoders
        ]
        readable = np.flatnonzero(np.min([features.counts for features in encoded], axis=0) > 0).tolist()
        kept = [samples[number] for number in readable]
        clips = spoken_clips(
            [features.select(readable) for features in encoded],
            [said[sample] for sample in kept],
            [sample.subject for sample in kept],
        )
        return clips, np.array([given[sample.path.stem] for sample in kept])

    def _prepared(self, arm: ArmRecipe) -> PreparedClips:
        key = repr(arm.encoders)
        if key not in self._prepared_by:
            encoders = [encoder.open() for encoder in arm.encoders]
            self._prepared_by[key] = prepare_clips(self._base.data, encoders, self._data, self._progress)
        return self._prepared_by[key]

    def _reported(self, arm: ArmRecipe) -> SpokenClips:
        (clips, *others) = self._prepared(arm).reported.values()
        if others:
            raise RecipeError("The benchmark reports one domain.", value=1 + len(others), remedy="Give one data set.")
        return clips

    def _trained(self, arm: ArmRecipe, seed: int) -> PhoneHead:
        """The arm's head, from an earlier run where there was one."""

        def fit() -> PhoneHead:
            prepared = self._prepared(arm)
            clips = shuffle_transcripts(prepared.train, seed) if arm.shuffled else prepared.train
            return self._fit(arm, seed, clips, prepared.held_out)

        return self._kept_head(f"{arm.name}-seed-{seed}", arm, fit)

    def _kept_head(self, name: str, arm: ArmRecipe, fit: Callable[[], PhoneHead]) -> PhoneHead:
        path = self._folder.path / f"{name}.safetensors"
        if path.is_file():
            return load_head(path)[0]
        head = fit()
        path.parent.mkdir(parents=True, exist_ok=True)
        save_head(path, head, self._info(arm))
        return head

    def _fit(self, arm: ArmRecipe, seed: int, clips: SpokenClips, held_out: SpokenClips) -> PhoneHead:
        return self._fit_by(self._optimisation(arm), arm, seed, clips, held_out)

    def _fit_last(self, arm: ArmRecipe, seed: int, clips: SpokenClips, judged: SpokenClips) -> PhoneHead:
        """The head of the last epoch: people who judge a head do not choose its epoch."""
        optimisation = self._optimisation(arm)
        last = optimisation.model_copy(update={"validate_every_epochs": optimisation.epochs})
        return self._fit_by(last, arm, seed, clips, judged)

    def _fit_by(
        self, optimisation: CtcRecipe, arm: ArmRecipe, seed: int, clips: SpokenClips, held_out: SpokenClips
    ) -> PhoneHead:
        torch.manual_seed(seed)
        return train_head(self._info(arm).build(), clips, held_out, optimisation, seed, _NoStore()).best

    def _optimisation(self, arm: ArmRecipe) -> CtcRecipe:
        optimisation = self._base.optimisation
        if arm.epochs is None:
            return optimisation
        warmup = min(optimisation.warmup_epochs, arm.epochs / 2)
        return optimisation.model_copy(update={"epochs": arm.epochs, "warmup_epochs": warmup})

    def _info(self, arm: ArmRecipe) -> HeadInfo:
        encoders = [encoder.open() for encoder in arm.encoders]
        infos = tuple(encoder_info(encoder) for encoder in encoders)
        return HeadInfo(arm.head, infos, CLASSES, encoders[0].frame_period_s)

    def _arm_named(self, name: str) -> ArmRecipe:
        for arm in self._recipe.arms:
            if arm.name == name:
                return arm
        raise RecipeError("The benchmark has no such arm.", value=name, remedy="Name one of its arms.")


def _rate(decoded: Sequence[Phones], read: Sequence[Phones]) -> float:
    edits = sum(edit_distance(one, other) for one, other in zip(decoded, read, strict=True))
    return edits / sum(len(phones) for phones in read)
