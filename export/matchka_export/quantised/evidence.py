"""What is shipped of an 8-bit graph: the numbers that were learned, and what the interchange test found."""

from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field, ValidationError

from matchka.bundles.variant import Interchange
from matchka.runtime.atomic_file import write_atomically
from matchka_export.errors import EvidenceError
from matchka_export.gate.evidence import HEX_SHA256
from matchka_export.quantised.quantiser import AnyQuantiser
from matchka_train.strict_model import StrictModel

_MEASURE: Final = "Measure again with `matchka-export quantise RECIPE`."


class QuantisedEvidence(StrictModel):
    """What was learned and measured of the 8-bit graph of one backbone with one projection.

    Attributes:
        format: of this file.
        backbone_sha256: of the backbone's weights.
        projection_sha256: of the projection's file.
        quantiser: how the graph is written, with its learned numbers.
        calibrated_on: data set and number of samples, in words; empty where nothing was learned.
        interchange: what was found, by domain.
        speed: rows a second of one thread, as a multiple of the graph's in 32 bits; the lowest of the batches timed.
        measured_on: the CPU.
        command: what to run to find the same again.
        libraries: versions it was measured with.
    """

    format: Literal["matchka-quantised-1"] = "matchka-quantised-1"
    backbone_sha256: str = Field(pattern=HEX_SHA256)
    projection_sha256: str = Field(pattern=HEX_SHA256)
    quantiser: Annotated[AnyQuantiser, Field()]
    calibrated_on: str
    interchange: dict[str, Interchange] = Field(min_length=1)
    speed: float = Field(gt=0)
    measured_on: str
    command: str
    libraries: dict[str, str]


def read_quantised(path: Path) -> QuantisedEvidence:
    """Read it.

    Raises: EvidenceError: no such file, or not one of an 8-bit graph.
    """
    try:
        return QuantisedEvidence.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        raise EvidenceError(
            f"What is shipped of the 8-bit graph, {path}, cannot be read.", value=error, remedy=_MEASURE
        ) from error


def write_quantised(path: Path, evidence: QuantisedEvidence) -> None:
    """Write it; the file is whole or not there."""
    write_atomically(path, (evidence.model_dump_json(indent=1) + "\n").encode())


def require_quantised_of(evidence: QuantisedEvidence, backbone_sha256: str, projection_sha256: str) -> None:
    """Refuse what was learned and measured of another backbone or another projection.

    Raises: EvidenceError.
    """
    measured = evidence.backbone_sha256, evidence.projection_sha256
    if measured != (backbone_sha256, projection_sha256):
        raise EvidenceError(
            "What is shipped of the 8-bit graph is of another backbone or projection.",
            value=measured,
            remedy=_MEASURE,
        )
