"""Settings made of a word, or between two settings: interpolation; what has to be solved was at the export."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import starmap

import numpy as np

from matchka.bundles.manifest import Manifest
from matchka.bundles.outputs.parameters import Parameter, ParametersOutput
from matchka.errors import UnknownDescriptorError
from matchka.inference.model import Model
from matchka.inference.registry import ModelRegistry


@dataclass(frozen=True)
class Setting:
    """A setting. Attributes: manifest: of the model; values: by the parameters' names, in their units and ranges."""

    manifest: Manifest
    values: dict[str, float]


def generate(models: ModelRegistry, model_name: str, descriptor: str, strength: float) -> Setting:
    """What a word stands for at a strength.

    Args:
        models: those that are served.
        model_name: of one that has parameters.
        descriptor: the word, in any case.
        strength: from 0, a setting that changes nothing, to 1, the word as people meant it.

    Raises:
        UnknownModelError: no model has the name.
        OutputNotAvailableError: it has no parameters.
        UnknownDescriptorError: too few people gave the word, or nobody.
    """
    manifest = models.current(model_name).manifest
    output = manifest.output(ParametersOutput)
    found = output.words.get(descriptor.strip().lower())
    if found is None:
        known = ", ".join(output.words) or "none"
        raise UnknownDescriptorError(
            f"The model {manifest.name} {manifest.version} has no curve of this word: too few people gave it.",
            value=descriptor,
            remedy=f"Its words are {known}. Enrol settings of your own to find others near them.",
        )
    upper = min(bisect_right(output.strengths, strength), len(output.strengths) - 1)
    lower = upper - 1
    share = (strength - output.strengths[lower]) / (output.strengths[upper] - output.strengths[lower])
    return Setting(manifest, _between(output.parameters, found.settings[lower], found.settings[upper], share))


def morph(models: ModelRegistry, model_name: str, a: bytes, b: bytes, share: float) -> Setting:
    """A setting on the way between two, even in the places of numbers in their ranges.

    Args:
        models: those that are served.
        model_name: of one that has parameters.
        a: the setting at share 0, as JSON.
        b: the setting at share 1.
        share: of the way, from 0 to 1; its ends are the settings themselves, as 32-bit numbers.

    Raises:
        UnknownModelError, OutputNotAvailableError: as generate().
        MatchkaError: a setting is not one; the error says which.
    """
    model = models.current(model_name)
    parameters = model.manifest.output(ParametersOutput).parameters
    return Setting(model.manifest, _between(parameters, _values_in(model, a), _values_in(model, b), share))


def _values_in(model: Model, sample: bytes) -> list[float]:
    """The numbers of a setting, in the order of the graph's columns.

    The shortest decimal that is the same in 32 bits: 0.71 stays 0.71.
    """
    (observation,) = model.read(sample, model.options_for("probe", {}))
    return [float(str(value)) for value in observation.rows[0].astype(np.float32)]


def _between(
    parameters: Sequence[Parameter], first: Sequence[float], second: Sequence[float], share: float
) -> dict[str, float]:
    ways = starmap(
        lambda each, one, other: each.between(one, other, share), zip(parameters, first, second, strict=True)
    )
    return {each.name: min(max(value, each.low), each.high) for each, value in zip(parameters, ways, strict=True)}
