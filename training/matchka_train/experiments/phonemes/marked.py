"""One arm beside people's marks: what its heads made of clips of speakers that they were not trained on."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from matchka.vectors import FloatArray
from matchka_train.evaluation.pronunciation import agreement, agreement_intervals, fit_line, text_scores
from matchka_train.experiments.phonemes.people import LOW_MARK, Values, by_age, by_group
from matchka_train.experiments.phonemes.recipe import ArmRecipe
from matchka_train.experiments.phonemes.results import MarkedRun
from matchka_train.fitting.ctc.clips import SpokenClips
from matchka_train.metrics.phone_errors import phone_errors


def marked_run(
    arm: ArmRecipe,
    encoders: tuple[str, ...],
    clips: SpokenClips,
    marks: Values,
    log_posteriors: Sequence[FloatArray],
    folds: npt.NDArray[np.int64],
    ages: Mapping[str, int],
    seed: int,
) -> MarkedRun:
    """Hold an arm against marks.

    Args:
        arm: what was trained.
        encoders: hashes of their weights.
        clips: with a mark.
        marks: (clips,), of people.
        log_posteriors: of each clip, by a head that was not trained on its speaker.
        folds: (clips,), part of the speakers; a part's error is that of a line fitted to the others.
        ages: of the speakers.
        seed: of the draws of speakers behind the intervals.

    Raises: NoTrialsError: all marks are low, or none is.
    """
    read = [said.phones for said in clips.transcripts]
    errors = phone_errors(log_posteriors, read, clips.subjects)
    is_low = marks < LOW_MARK
    scores = text_scores(log_posteriors, read)
    ratio = agreement(scores, marks, is_low, clips.subjects)
    share = agreement(1.0 - errors.errors / errors.phones, marks, is_low, clips.subjects)
    intervals = agreement_intervals(scores, marks, is_low, clips.subjects, seed)
    return MarkedRun(
        arm=arm.name,
        head=arm.head,
        encoders=encoders,
        per=errors.select(~is_low).rate,
        pearson=ratio.pearson,
        auc=ratio.auc,
        error_pearson=share.pearson,
        error_auc=share.auc,
        clips=ratio.clips,
        speakers=ratio.speakers,
        line=fit_line(scores, marks, folds),
        pearson_interval=intervals.pearson,
        auc_interval=intervals.auc,
        scores=scores.tolist(),
        marks=marks.tolist(),
        ages=by_age(scores, marks, clips.subjects, ages),
        parts=by_group(scores, marks, clips.subjects, {f"part {1 + fold}": folds == fold for fold in np.unique(folds)}),
    )
