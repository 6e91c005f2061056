"""What the ablation found, as tables and as a page of docs/experiments."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from matchka_train.experiments.radio.arms import ARMS, CLAIMS
from matchka_train.experiments.radio.radio import Radio
from matchka_train.experiments.seeds import CONFIDENCE, mean_and_range, paired_interval, verdict
from matchka_train.fitting.network.accuracy import BANDS

SNR_RANGE_DB: Final = (-10.0, 14.0)
CLEAR_SNR_DB: Final = 12.0  # at which the denoiser's error is shown


def band_rows(found: Radio) -> list[list[str]]:
    """Accuracy in each band, error of the SNR and of the denoiser, for every arm; the header first."""
    rows = [["arm", *(f"{band} %" for band in BANDS), "SNR error dB", f"denoised at {CLEAR_SNR_DB:g} dB"]]
    for arm in ARMS:
        runs = found.of(arm)
        rates = [mean_and_range([100 * run.accuracy(band) for run in runs]) for band in BANDS]
        errors = mean_and_range([run.snr_error(*SNR_RANGE_DB) for run in runs], 2)
        left = [
            run.denoising_error_db[run.snrs_db.index(CLEAR_SNR_DB)]
            for run in runs
            if run.denoising_error_db and CLEAR_SNR_DB in run.snrs_db
        ]
        rows.append([arm, *rates, errors, mean_and_range(left) if left else "-"])
    return rows


def claim_rows(found: Radio) -> list[list[str]]:
    """Each claim with what was found: the mean difference, paired by seed, and its interval; the header first."""
    rows = [["claim", "band", "difference, points", f"{CONFIDENCE:.0%} interval", "verdict"]]
    for text, arm, against, band, claimed in CLAIMS:
        pairs = zip(found.of(arm), found.of(against), strict=True)
        differences = [100 * (run.accuracy(band) - other.accuracy(band)) for run, other in pairs]
        low, high = paired_interval(differences)
        shown = "-" if np.isnan(low) else f"{low:+.1f} to {high:+.1f}"
        rows.append([text, band, f"{np.mean(differences):+.2f}", shown, verdict(low, high, claimed)])
    return rows


def radio_page(found: Radio) -> str:
    """The page, in Markdown."""
    recipe = found.recipe
    return "\n".join(
        [
            "# Which parts of a radio network are worth their place?",
            "",
            "A report on an ablation of a CLDNN for modulation recognition blames mixup for what its denoiser lost",
            "at low SNR, and proposes to mix for the classifier alone. The same parts are compared here on made",
            "signals of a calibrated SNR, one part at a time; dropout and shifts, which changed with them there, stay",
            "as they are.",
            "",
            "```sh",
            "matchka-train experiment radio --set bfloat16=true",
            "```",
            "",
            f"{len(recipe.seeds)} seeds; {recipe.epochs} epochs of {recipe.windows_per_epoch} windows, new in every",
            f"epoch and the same for all arms of a seed; {recipe.channels} channels; {recipe.test_windows} test",
            "windows of 128 samples, 11 modulations, -20 to 18 dB, fading and offsets, of seeds that no training uses.",
            "Mean, and least to largest of the seeds.",
            "These are short trainings of small networks: differences between arms are what counts, not the rates.",
            "",
            *_markdown(band_rows(found)),
            "",
            "![Accuracy over SNR for every arm; thin lines are seeds](radio.png)",
            "",
            "## Which conclusions hold",
            "",
            "Differences are paired by seed: both arms saw the same windows in the same order.",
            "",
            *_markdown(claim_rows(found)),
            "",
            "*holds*: the interval lies above what is claimed; *contradicted*: below; *not decided*: around it.",
            "",
            "![Confusion of modulations at 10 dB and above, first and last arm](radio-confusion.png)",
            "",
        ]
    )


def _markdown(rows: Sequence[Sequence[str]]) -> list[str]:
    header, *others = rows
    return [f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *others)]
