"""Inputs of named numbers: as a manifest writes them, and as the classes that read it."""

from typing import Any

from matchka.modalities.tabular.spec import TabularField, TabularInputSpec

GAIN = {"name": "gain", "unit": "dB", "low": -12, "high": 12}
FREQUENCY = {"name": "frequency", "unit": "Hz", "low": 20, "high": 20_000, "scale": "log"}
LENGTH = TabularField(name="length", unit="m", low=-2, high=6)
FORCE = TabularField(name="force", unit="N", low=0.01, high=1000, scale="log")
LENGTH_AND_FORCE = TabularInputSpec(fields=(LENGTH, FORCE))


def spec_of(*fields: dict[str, Any]) -> TabularInputSpec:
    return TabularInputSpec.model_validate({"kind": "tabular", "fields": fields})
