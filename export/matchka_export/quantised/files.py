"""Names of what belongs to an 8-bit graph, in a bundle and where it is shipped."""

from pathlib import Path
from typing import Final

INT8_NAME: Final = "model.int8.onnx"
EXAMPLES_NAME: Final = "int8.examples.npz"
QUANTISED_NAME: Final = "int8.json"  # in a bundle; beside the measurements of a default model, NAME.int8.json


def quantised_path(evidence: Path) -> Path:
    """Where that of a model lies, beside its measurements.

    >>> quantised_path(Path("defaults/voice.json")).as_posix()
    'defaults/voice.int8.json'
    """
    return evidence.with_name(f"{evidence.stem}.{QUANTISED_NAME}")
