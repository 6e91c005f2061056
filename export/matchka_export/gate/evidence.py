"""Evidence of a projection: the files it belongs to, what was measured, and how to reproduce it."""

import json
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import Field, ValidationError

from matchka.bundles.manifest import DatasetUse
from matchka.bundles.outputs.condition import Condition
from matchka.bundles.outputs.measurements import DimReport
from matchka.bundles.outputs.output import is_absent
from matchka.bundles.outputs.scoring import AnyScoring, CosineScoring
from matchka.runtime.atomic_file import write_atomically
from matchka_export.enhancer.evidence import EnhancerEvidence
from matchka_export.errors import EvidenceError
from matchka_export.gate.gate import dim_gates, require_passed
from matchka_train.strict_model import StrictModel

HEX_SHA256: Final = r"^[0-9a-f]{64}$"


class IdentificationRates(StrictModel):
    """Open-set identification at one dim; fields as in matchka_train.evaluation.identification.Identification."""

    enrolled: int
    probes: int
    strangers: int
    rank_1: float = Field(ge=0, le=1)
    fnir_at_fpir: dict[str, float]
    threshold: float
    accuracy: float = Field(ge=0, le=1)


class Evidence(StrictModel):
    """What was measured of one backbone with one projection.

    Attributes:
        format: of this file.
        backbone_sha256: of the backbone's weights.
        projection_sha256: of the projection's file.
        family: of the projection.
        float16: whether the backbone's weights were rounded to 16 bits.
        parity: largest absolute difference of the graph from torch, on real clips.
        full_dim: components of an embedding.
        dims: dims measured, rising; the last is full_dim.
        per_dim: as matchka.bundles.outputs.EmbeddingOutput.
        scorer: what compared the embeddings.
        scorer_sha256: of its files, by name.
        condition: the bands that have thresholds of their own in per_dim; None where one threshold serves all.
        enhancer: what was measured of one for small samples; None where there is none.
        heads: what the backbone's file says was measured of its other outputs; empty where it has none.
        identification: "projected" and "raw" -> domain -> dim -> gallery against probes; None where not measured.
        datasets: what fitted and what judged the projection.
        commands: what to run to find the same again.
        libraries: versions it was measured with.
    """

    format: Literal["matchka-evidence-1"] = "matchka-evidence-1"
    backbone_sha256: str = Field(pattern=HEX_SHA256)
    projection_sha256: str = Field(pattern=HEX_SHA256)
    family: str
    float16: bool
    parity: float = Field(ge=0)
    full_dim: int
    dims: tuple[int, ...]
    per_dim: dict[str, DimReport]
    scorer: AnyScoring = CosineScoring()
    scorer_sha256: dict[str, Annotated[str, Field(pattern=HEX_SHA256)]] = Field(default_factory=dict)
    condition: Condition | None = Field(default=None, exclude_if=is_absent)
    enhancer: EnhancerEvidence | None = Field(default=None, exclude_if=is_absent)
    heads: dict[str, Any] = Field(default_factory=dict, exclude_if=is_absent)
    identification: dict[str, dict[str, dict[str, IdentificationRates]]] | None = None
    datasets: tuple[DatasetUse, ...]
    commands: tuple[str, ...]
    libraries: dict[str, str]


def read_evidence(path: Path) -> Evidence:
    """Read measurements.

    Raises: EvidenceError: no such file, or not one of measurements.
    """
    try:
        return Evidence.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        raise EvidenceError(f"The measurements {path} cannot be read.", value=error, remedy=_MEASURE) from error


def write_evidence(path: Path, evidence: Evidence) -> None:
    """Write measurements; the file is whole or not there."""
    write_atomically(path, (_lines(evidence.model_dump(mode="json")) + "\n").encode())


def _lines(value: Any, indent: str = "") -> str:
    """JSON with a line for each innermost list or object: bands have thousands of numbers.

    >>> print(_lines({"a": [{"b": 1, "c": None}], "d": 2}))
    {
     "a": [
      {"b": 1, "c": null}
     ],
     "d": 2
    }
    """
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    if not any(isinstance(one, dict | list) for one in inside):
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    deeper = indent + " "
    if isinstance(value, dict):
        parts = [f"{deeper}{json.dumps(key)}: {_lines(one, deeper)}" for key, one in value.items()]
    else:
        parts = [deeper + _lines(one, deeper) for one in value]
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    return f"{opening}\n" + ",\n".join(parts) + f"\n{indent}{closing}"


def require_measured_pass(evidence: Evidence) -> None:
    """Refuse measurements of a projection that did not pass the gate.

    Raises:
        GateError: it did not, or a domain was not judged.
        UndecidableError: too little was measured to know.
    """
    require_passed(dim_gates(evidence.per_dim), accept_worse=None)


def require_belongs(evidence: Evidence, backbone_sha256: str, projection_sha256: str) -> None:
    """Refuse measurements of another backbone or another projection.

    Args:
        evidence: the measurements.
        backbone_sha256: of the weights at hand.
        projection_sha256: of the projection's file at hand.

    Raises: EvidenceError: one of the two is another.
    """
    for part, measured, found in (
        ("backbone", evidence.backbone_sha256, backbone_sha256),
        ("projection", evidence.projection_sha256, projection_sha256),
    ):
        if measured != found:
            raise EvidenceError(
                f"The measurements are of the {part} with sha256 {measured}, not of this one.",
                value=found,
                remedy=_MEASURE,
            )


_MEASURE: Final = "Measure again with `matchka-export measure CHECKPOINT`."
