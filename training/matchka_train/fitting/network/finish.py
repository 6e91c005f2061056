"""From trained weights to a file: what is known, what is measured, and what the file says of both."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch

from matchka.bundles.outputs.classes import UnknownRule
from matchka.bundles.outputs.condition import Condition
from matchka.modalities.iq.windows import unit_power
from matchka_train.backbones.iq.backbone import BAND_EDGES_DB, KNOWN, SNR
from matchka_train.backbones.iq.familiarity import Familiarity, fit_familiarity
from matchka_train.backbones.iq.file import NetworkDescription, TrainedNetwork
from matchka_train.backbones.iq.network import RadioNetwork
from matchka_train.datasets.generator.recordings import WINDOW_SAMPLES, Draw, draw_evenly
from matchka_train.datasets.generator.waveforms import STRANGE_WAVEFORMS, WAVEFORMS, Waveform
from matchka_train.fitting.network.accuracy import BANDS, BATCH, measure_network
from matchka_train.fitting.network.recipe import NetworkRecipe
from matchka_train.fitting.network.windows import Windows, draw_windows, waveforms_of

UNKNOWN_SHARE: Final = 0.05  # of single windows of known modulations that may be called unknown, in each band
SNR_RANGE_DB: Final = (-10.0, 14.0)  # in which the error of the SNR is stated
STRANGER_WINDOWS: Final = 8
STRANGER_RECORDINGS: Final = 500
STRANGER_SNRS_DB: Final = (10, 12, 14, 16, 18)
LEAST_FAMILIAR_SNR_DB: Final = 0.0  # windows below say more of the noise than of a modulation


def finish_network(recipe: NetworkRecipe, network: RadioNetwork) -> TrainedNetwork:
    """Fit the familiarity, set the thresholds, and measure.

    Args:
        recipe: of the training.
        network: trained by it, in evaluation mode.
    """
    seed, modulations = recipe.seed, recipe.modulations
    fitted_on = draw_windows(modulations, recipe.validation_windows, Draw(seed, "train", 0))
    familiarity = _fit(network, fitted_on, len(modulations))
    thresholds = _thresholds(
        network, familiarity, draw_windows(modulations, recipe.validation_windows, _validation(seed))
    )
    tested = draw_windows(modulations, recipe.validation_windows, Draw(seed, "test"))
    found = measure_network(network, modulations, tested)
    low, high = SNR_RANGE_DB
    measured: dict[str, Any] = {
        "windows": recipe.validation_windows,
        "accuracy": {band: round(found.accuracy(band), 4) for band in BANDS},
        "accuracy_merged": {band: round(found.accuracy_merged(band), 4) for band in BANDS},
        "accuracy_by_snr": {
            f"{snr:g}": round(value, 4) for snr, value in zip(found.snrs_db, found.accuracy_by_snr(), strict=True)
        },
        "unknown_auroc": _strangers(network, familiarity, seed, modulations),
        "snr_error_db": {f"{low:g}..{high:g}": round(found.snr_error(low, high), 3)},
    }
    description = NetworkDescription(
        network=recipe.network,
        modulations=modulations,
        unknown=UnknownRule(value=KNOWN, condition=Condition(value=SNR, edges=BAND_EDGES_DB), thresholds=thresholds),
        training=recipe.model_dump(mode="json", exclude={"output"}),
        measured=measured,
    )
    return TrainedNetwork(description, network, familiarity)


def _validation(seed: int) -> Draw:
    return Draw(seed, "validation")


def _fit(network: RadioNetwork, windows: Windows, count: int) -> Familiarity:
    clear = windows.take(torch.nonzero(windows.snr_db >= LEAST_FAMILIAR_SNR_DB)[:, 0])
    pooled, _ = _look(network, clear)
    return fit_familiarity(pooled, clear.classes, count)


def _thresholds(network: RadioNetwork, familiarity: Familiarity, windows: Windows) -> tuple[float, ...]:
    """For each band of the estimated SNR, what UNKNOWN_SHARE of its windows do not reach.

    Means over several windows vary less than a single one, so that fewer recordings than that are called unknown.
    """
    pooled, snr_db = _look(network, windows)
    with torch.inference_mode():
        known = familiarity(pooled)[:, 0].numpy()
    band = np.digitize(snr_db.numpy(), BAND_EDGES_DB)
    return tuple(
        round(float(np.quantile(known[band == number], UNKNOWN_SHARE)), 4) for number in range(len(BAND_EDGES_DB) + 1)
    )


def _strangers(
    network: RadioNetwork, familiarity: Familiarity, seed: int, modulations: tuple[str, ...]
) -> dict[str, float]:
    """Area under the curve of strangers against known modulations, recordings of STRANGER_WINDOWS windows at high SNR.

    Returns: for each kind of stranger, and for each modulation that the network does not know.
    """
    others = [waveform for waveform in (*WAVEFORMS, *STRANGE_WAVEFORMS) if waveform.modulation not in modulations]

    def mean_known(choices: Sequence[Waveform], number: int) -> npt.NDArray[np.float32]:
        drawn = draw_evenly(
            choices, STRANGER_RECORDINGS, STRANGER_SNRS_DB, Draw(seed, "hidden", number), STRANGER_WINDOWS
        )
        rows = torch.from_numpy(unit_power(drawn.noisy.reshape(-1, WINDOW_SAMPLES)))
        with torch.inference_mode():
            found = [familiarity(network(part).pooled) for part in torch.split(rows, BATCH)]
        means: npt.NDArray[np.float32] = torch.cat(found).reshape(-1, STRANGER_WINDOWS).mean(dim=1).numpy()
        return means

    known = mean_known(waveforms_of(modulations), 0)
    return {
        name: round(_area(known, mean_known([one for one in others if one.modulation == name], 1)), 4)
        for name in dict.fromkeys(one.modulation for one in others)
    }


def _area(known: npt.NDArray[np.float32], strange: npt.NDArray[np.float32]) -> float:
    """The probability that a known one has the higher value of the two."""
    return float((known[:, None] > strange).mean())


def _look(network: RadioNetwork, windows: Windows) -> tuple[torch.Tensor, torch.Tensor]:
    """What the network pools, (n, width), and the estimated SNR, (n,)."""
    with torch.inference_mode():
        found = [network(windows.rows[start : start + BATCH]) for start in range(0, len(windows), BATCH)]
    return torch.cat([one.pooled for one in found]), torch.cat([one.snr_db for one in found])[:, 0]
