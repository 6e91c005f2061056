"""What each experiment found, as rows for a terminal and for docs/experiments; means over seeds, and their range."""

from collections.abc import Sequence

import numpy as np

from matchka_train.experiments.equalizer import ARMS as EQUALIZER_ARMS
from matchka_train.experiments.equalizer import EqualizerRuns
from matchka_train.experiments.face_heads import LOSSES, PLACES, FaceEpoch, FaceHeads
from matchka_train.experiments.progressive import ARMS, Progressive
from matchka_train.experiments.two_stage import Run, TwoStage, arms_of


def two_stage_rows(found: TwoStage) -> list[list[str]]:
    """EER at the last epoch and at the last frozen one, for every arm, domain and dim; the header first."""
    dims = list(next(iter(found.raw.values())))
    rows = [["domain", "arm", "epoch", *(f"EER % at {dim}" for dim in dims)]]
    for domain, raw in found.raw.items():
        rows.append([domain, "backbone alone, truncated", "-", *(f"{100 * raw[dim]:.2f}" for dim in dims)])
        for arm in arms_of(found):
            runs = [run for run in found.runs if run.arm == arm]
            rates = [[100 * run.epochs[-1].eer[domain][dim] for run in runs] for dim in dims]
            rows.append([domain, arm.name, str(runs[0].epochs[-1].epoch), *(_mean_and_range(rate) for rate in rates)])
    return rows


def loss_rows(found: TwoStage) -> list[list[str]]:
    """Both losses where the backbone is unfrozen and at the end, for every arm; the header first."""
    rows = [["arm", "epoch", "training loss", "held-out classification loss"]]
    for arm in arms_of(found):
        runs = [run for run in found.runs if run.arm == arm]
        for number in sorted({_at(runs[0], arm.freeze_backbone_epochs), len(runs[0].epochs) - 1}):
            epochs = [run.epochs[number] for run in runs]
            trained = [epoch.train_loss for epoch in epochs if epoch.train_loss is not None]
            shown = _mean_and_range(trained) if trained else "-"
            rows.append(
                [arm.name, str(epochs[0].epoch), shown, _mean_and_range([epoch.held_out_loss for epoch in epochs])]
            )
    return rows


def face_heads_rows(found: FaceHeads) -> list[list[str]]:
    """The untouched backbone first, then every arm after its last epoch; the header first.

    paired: similarity of two views of a training photograph; own, others: of a probe of somebody unseen and references;
    accepted, FMR: at the threshold that kept a false match rate of 0.1 % with the untouched backbone.
    """
    rows = [
        ["trained", "loss", "paired", "own", "others", "rank 1 %", "EER %", "accepted %", "FMR %"],
        ["nothing", "-", *_shown([found.untouched])],
    ]
    for place in PLACES:
        for loss in LOSSES:
            last = [run.epochs[-1] for run in found.runs if (run.place, run.loss) == (place, loss)]
            if last:
                rows.append([place, loss, *_shown(last)])
    return rows


def progressive_rows(found: Progressive) -> list[list[str]]:
    """EER after the last epoch, for every domain, arm and dim; the header first."""
    dims = list(next(iter(found.raw.values())))
    rows = [["domain", "trained", *(f"EER % at {dim}" for dim in dims)]]
    for domain, raw in found.raw.items():
        rows.append([domain, "nothing: backbone alone, truncated", *(f"{100 * raw[dim]:.2f}" for dim in dims)])
        for arm in ARMS:
            runs = [run for run in found.runs if run.arm == arm]
            rows.append([domain, arm, *(_mean_and_range([100 * run.eer[domain][dim] for run in runs]) for dim in dims)])
    return rows


def equalizer_rows(found: EqualizerRuns) -> list[list[str]]:
    """Every arm after its last step, on true words and on words dealt at random; the header first."""
    rows = [["arm", "words", "contrastive loss", "silhouette", "Davies-Bouldin", "error dB", "outside %", "highest Hz"]]
    for arm in EQUALIZER_ARMS:
        for shuffled in (False, True):
            runs = [run for run in found.runs if (run.arm, run.shuffled) == (arm, shuffled)]
            rows.append(
                [
                    arm,
                    "shuffled" if shuffled else "true",
                    f"{np.mean([run.contrastive[0] for run in runs]):.2f} to "
                    f"{np.mean([run.contrastive[-1] for run in runs]):.2f}",
                    _mean_and_range([run.silhouette for run in runs]),
                    _mean_and_range([run.davies_bouldin for run in runs]),
                    _mean_and_range([run.error_db for run in runs]),
                    _mean_and_range([100 * run.outside for run in runs], 1),
                    _mean_and_range([run.highest_hz for run in runs], 0),
                ]
            )
    return rows


def _shown(epochs: Sequence[FaceEpoch]) -> list[str]:
    similarities = [
        [epoch.paired for epoch in epochs],
        [epoch.unseen.mated for epoch in epochs],
        [epoch.unseen.non_mated for epoch in epochs],
    ]
    shares = [
        [100 * epoch.unseen.rank_1 for epoch in epochs],
        [100 * epoch.unseen.eer for epoch in epochs],
        [100 * epoch.unseen.accepted for epoch in epochs],
        [100 * epoch.unseen.false_matches for epoch in epochs],
    ]
    return [_mean_and_range(values, 3) for values in similarities] + [_mean_and_range(values, 1) for values in shares]


def _mean_and_range(values: Sequence[float], digits: int = 2) -> str:
    """The mean, and behind it the least and the largest where there are several.

    >>> _mean_and_range([1.0, 2.0, 6.0])
    '3.00 (1.00-6.00)'
    """
    mean = f"{np.mean(values):.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def _at(run: Run, freeze: int) -> int:
    """The last judged epoch in which the backbone was frozen."""
    return max(number for number, epoch in enumerate(run.epochs) if epoch.epoch <= freeze)
