"""Classes of samples, out of what a graph with a class output returns."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from matchka.bundles.manifest import Manifest
from matchka.bundles.outputs.classes import ClassOutput, UnknownRule
from matchka.inference.registry import ModelRegistry
from matchka.inference.session import NamedArrays
from matchka.modalities.modality import Finding
from matchka.vectors import FloatArray


@dataclass(frozen=True)
class Classified:
    """The class of one sample.

    Attributes:
        manifest: of the model.
        label: of the most probable class; None where the sample is of none that the model knows.
        probabilities: by label, the most probable first; they add up to 1.
        values: of the model's value outputs by name, each the mean over the rows.
        rows: that the sample gave: windows of a recording.
        finding: what was seen of it.
    """

    manifest: Manifest
    label: str | None
    probabilities: dict[str, float]
    values: dict[str, float]
    rows: int
    finding: Finding | None


def classify(models: ModelRegistry, model_name: str, sample: bytes, given: Mapping[str, str]) -> Classified:
    """Classify one sample; where a reader makes several observations of it, the first.

    Args:
        models: those that are served.
        model_name: of one that classifies.
        sample: a whole file.
        given: the caller's choices of how it is read, by the names of the modality's options.

    Raises:
        UnknownModelError: no model has the name.
        OutputNotAvailableError: it does not classify.
        InvalidFieldError: a choice that does not apply.
        MatchkaError: the sample is not usable.
    """
    model = models.current(model_name)
    manifest, output = model.manifest, model.manifest.output(ClassOutput)
    seen = model.observe([sample], model.options_for("probe", given))
    rows = seen.rows[0]
    with model.times.timed("decide"):
        pooled = pooled_probabilities(seen.outputs[manifest.output_name(ClassOutput)][:rows])
        values = mean_values(manifest, seen.outputs, rows)
        ranked = sorted(zip(output.labels, pooled.tolist(), strict=True), key=lambda pair: -pair[1])
        label = None if output.unknown and is_unknown(output.unknown, values) else ranked[0][0]
    return Classified(manifest, label, dict(ranked), values, rows, seen.findings[0])


def pooled_probabilities(logits: FloatArray) -> npt.NDArray[np.float64]:
    """Probabilities of a sample's classes: the softmax of the mean of its rows' log-softmax.

    Args: logits: float32, (rows, labels).

    Returns: float64, (labels,), adding up to 1.

    >>> pooled_probabilities(np.log(np.array([[0.8, 0.2], [0.5, 0.5]], np.float32))).round(3)
    array([0.667, 0.333])
    """
    wide = logits.astype(np.float64)
    pooled = (wide - _log_sum(wide)).mean(axis=0)
    probabilities: npt.NDArray[np.float64] = np.exp(pooled - _log_sum(pooled))
    return probabilities


def mean_values(manifest: Manifest, outputs: NamedArrays, rows: int) -> dict[str, float]:
    """The mean of each value output over the first rows, by its name."""
    return {name: float(outputs[name][:rows].mean(dtype=np.float64)) for name in manifest.values}


def is_unknown(rule: UnknownRule, values: Mapping[str, float]) -> bool:
    """Whether a sample of these values is of none of the classes."""
    band = rule.condition.band_of(values[rule.condition.value]) if rule.condition else 0
    return values[rule.value] < rule.thresholds[band]


def _log_sum(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The logarithm of the sum of exponentials along the last axis, which is kept."""
    largest = values.max(axis=-1, keepdims=True)
    summed: npt.NDArray[np.float64] = largest + np.log(np.exp(values - largest).sum(axis=-1, keepdims=True))
    return summed
