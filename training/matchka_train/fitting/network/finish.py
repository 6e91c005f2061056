"""From trained weights to a file: what is known, what is measured, and what the file says of both."""

from collections.abc import Mapping, Sequence
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
from matchka_train.fitting.network.floor import measure_floor
from matchka_train.fitting.network.recipe import NetworkRecipe
from matchka_train.fitting.network.windows import Windows, draw_windows, waveforms_of

UNKNOWN_SHARE: Final = 0.05  # of single windows of known modulations that may be called unknown, in each band
SNR_RANGE_DB: Final = (-10.0, 14.0)  # in which the error of the SNR is stated
STRANGER_WINDOWS: Final = 8
STRANGER_RECORDINGS: Final = 500
STRANGER_SNRS_DB: Final = (10, 12, 14, 16, 18)
SEPARABLE_AUROC: Final = 0.8  # QAM16 beside a known QAM64 is at .53, the least of all others was at .88
NOISE: Final = tuple(waveform for waveform in STRANGE_WAVEFORMS if waveform.modulation == "noise")
NOISE_WINDOWS: Final = 4000
SILENT_SNR_DB: Final = -60.0  # of what fills a band less than evenly behind a channel: next to nothing
NEVER_FAMILIAR: Final = 0.0  # familiarity lies below
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
    rule = _rule(network, familiarity, draw_windows(modulations, recipe.validation_windows, _validation(seed)), seed)
    tested = draw_windows(modulations, recipe.validation_windows, Draw(seed, "test"))
    found = measure_network(network, modulations, tested)
    floor = measure_floor(modulations, fitted_on, tested)
    strangers = _strangers(network, familiarity, seed, modulations)
    low, high = SNR_RANGE_DB
    measured: dict[str, Any] = {
        "windows": recipe.validation_windows,
        "accuracy": {band: round(found.accuracy(band), 4) for band in BANDS},
        "accuracy_of_boosted_cumulants": {band: round(floor.accuracy(band), 4) for band in BANDS},
        "accuracy_merged": {band: round(found.accuracy_merged(band), 4) for band in BANDS},
        "accuracy_by_snr": _by_snr(found.snrs_db, found.accuracy_by_snr()),
        "unknown_by_snr": _by_snr(found.snrs_db, _refused_by_snr(network, familiarity, rule, tested)),
        "unknown_noise": round(_refused_noise(network, familiarity, rule, seed), 4),
        "unknown_auroc": strangers,
        "not_separable": not_separable(strangers),
        "snr_error_db": {f"{low:g}..{high:g}": round(found.snr_error(low, high), 3)},
    }
    description = NetworkDescription(
        network=recipe.network,
        modulations=modulations,
        unknown=rule,
        training=recipe.model_dump(mode="json", exclude={"output"}),
        measured=measured,
    )
    return TrainedNetwork(description, network, familiarity)


def _validation(seed: int) -> Draw:
    return Draw(seed, "validation")


def _fit(network: RadioNetwork, windows: Windows, count: int) -> Familiarity:
    clear = windows.take(torch.nonzero(windows.snr_db >= LEAST_FAMILIAR_SNR_DB)[:, 0])
    features, _ = _look(network, clear.rows)
    return fit_familiarity(features, clear.classes, count)


def _rule(network: RadioNetwork, familiarity: Familiarity, windows: Windows, seed: int) -> UnknownRule:
    """What is unknown: whatever noise may be, and in each band above what UNKNOWN_SHARE of its windows do not reach.

    Means over several windows vary less than a single one, so that fewer recordings than that are called unknown, and
    noise is never taken for a modulation.
    """
    _, of_noise = _look(network, _noise(Draw(seed, "validation", 1)))
    noise_edge = round(float(np.quantile(of_noise.numpy(), 1 - UNKNOWN_SHARE)), 2)
    features, snr_db = _look(network, windows.rows)
    with torch.inference_mode():
        known = familiarity(features)[:, 0].numpy()
    edges = (noise_edge, *(edge for edge in BAND_EDGES_DB if edge > noise_edge))
    band = np.digitize(snr_db.numpy(), edges)
    above = (round(float(np.quantile(known[band == one], UNKNOWN_SHARE)), 4) for one in range(1, len(edges) + 1))
    return UnknownRule(value=KNOWN, condition=Condition(value=SNR, edges=edges), thresholds=(NEVER_FAMILIAR, *above))


def _refused(
    network: RadioNetwork, familiarity: Familiarity, rule: UnknownRule, rows: torch.Tensor
) -> npt.NDArray[np.bool_]:
    """Which of single windows are called unknown: (n,)."""
    features, snr_db = _look(network, rows)
    with torch.inference_mode():
        known = familiarity(features)[:, 0].numpy()
    edges = () if rule.condition is None else rule.condition.edges
    refused: npt.NDArray[np.bool_] = known < np.asarray(rule.thresholds)[np.digitize(snr_db.numpy(), edges)]
    return refused


def _refused_by_snr(
    network: RadioNetwork, familiarity: Familiarity, rule: UnknownRule, windows: Windows
) -> list[float]:
    refused, snr_db = _refused(network, familiarity, rule, windows.rows), windows.snr_db.numpy()
    return [float(refused[snr_db == snr].mean()) for snr in np.unique(snr_db)]


def _refused_noise(network: RadioNetwork, familiarity: Familiarity, rule: UnknownRule, seed: int) -> float:
    return float(_refused(network, familiarity, rule, _noise(Draw(seed, "test", 1))).mean())


def _noise(draw: Draw) -> torch.Tensor:
    """Windows of nothing but white noise: (NOISE_WINDOWS, 2, samples)."""
    drawn = draw_evenly(NOISE, NOISE_WINDOWS, (SILENT_SNR_DB,), draw)
    return torch.from_numpy(unit_power(drawn.noisy))


def _by_snr(snrs_db: Sequence[float], values: Sequence[float]) -> dict[str, float]:
    return {f"{snr:g}": round(value, 4) for snr, value in zip(snrs_db, values, strict=True)}


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
            found = [familiarity(network(part).features) for part in torch.split(rows, BATCH)]
        means: npt.NDArray[np.float32] = torch.cat(found).reshape(-1, STRANGER_WINDOWS).mean(dim=1).numpy()
        return means

    known = mean_known(waveforms_of(modulations), 0)
    return {
        name: round(_area(known, mean_known([one for one in others if one.modulation == name], 1)), 4)
        for name in dict.fromkeys(one.modulation for one in others)
    }


def not_separable(strangers: Mapping[str, float]) -> list[str]:
    """Strangers that cannot be told from a known modulation, a twin of theirs.

    Args: strangers: area under the curve of each.

    >>> not_separable({"OFDM": 0.97, "QAM16": 0.53})
    ['QAM16']
    """
    return [name for name, area in strangers.items() if area < SEPARABLE_AUROC]


def _area(known: npt.NDArray[np.float32], strange: npt.NDArray[np.float32]) -> float:
    """The probability that a known one has the higher value of the two."""
    return float((known[:, None] > strange).mean())


def _look(network: RadioNetwork, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The network's features, (n, features), and the estimated SNR, (n,)."""
    with torch.inference_mode():
        found = [network(part) for part in torch.split(rows, BATCH)]
    return torch.cat([one.features for one in found]), torch.cat([one.snr_db for one in found])[:, 0]
