"""What a radio network has to beat: boosted trees on what textbooks compute of a window."""

from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from sklearn.ensemble import HistGradientBoostingClassifier

from matchka_train.backbones.iq.network import expert_features
from matchka_train.fitting.network.accuracy import NetworkAccuracy, accuracy_of
from matchka_train.fitting.network.windows import Windows

SPECTRAL_BANDS: Final = 16
HIGHEST_LINES: Final = 4
TREES: Final = 60  # for each class; more gain nothing
LEARNING_RATE: Final = 0.15


def measure_floor(modulations: tuple[str, ...], trained_on: Windows, tested_on: Windows) -> NetworkAccuracy:
    """Boosting on cumulants, spectrum, amplitude and instantaneous frequency; it estimates no SNR.

    Args:
        modulations: in the order of the windows' classes.
        trained_on: what the trees learn.
        tested_on: others.
    """
    trees = HistGradientBoostingClassifier(max_iter=TREES, learning_rate=LEARNING_RATE, random_state=0)
    trees.fit(_features(trained_on), trained_on.classes.numpy())
    return accuracy_of(modulations, tested_on, trees.predict(_features(tested_on)))


def _features(windows: Windows) -> npt.NDArray[np.float64]:
    """(n, features)."""
    rows = windows.rows.numpy()
    x = rows[:, 0] + 1j * rows[:, 1]
    amplitude = np.abs(x)
    turn = np.angle(x[:, 1:] * x[:, :-1].conj())
    power = np.abs(np.fft.fft(x, axis=1)) ** 2
    bands = power.reshape(len(x), SPECTRAL_BANDS, -1).mean(axis=2)
    with torch.inference_mode():
        cumulants = expert_features(windows.rows).numpy()
    return np.column_stack(
        [
            cumulants,
            amplitude.std(axis=1),
            (amplitude**4).mean(axis=1),
            turn.mean(axis=1),
            turn.std(axis=1),
            np.abs(turn).mean(axis=1),
            np.log(bands + 1e-6),
            np.sort(power, axis=1)[:, -HIGHEST_LINES:],
        ]
    )
