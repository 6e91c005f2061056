"""The detector of a face bundle: MTCNN as three ONNX graphs, proven against torch."""

from pathlib import Path
from typing import Final

import numpy as np
import torch

from matchka.bundles.manifest import AuxiliaryPart, Source
from matchka.inference.session import open_ort_session
from matchka.modalities.face.pyramid import ONET_PX, PNET_WINDOW_PX, RNET_PX
from matchka.modalities.modality import GraphInput
from matchka_export.errors import ParityError
from matchka_export.gate.parity import LARGEST_DIFFERENCE
from matchka_export.graph.trace import tidy_graph, trace_graph
from matchka_train.backbones.backbone import DetectorSource
from matchka_train.backbones.face.mtcnn import INPUT_NAME, Mtcnn
from matchka_train.backbones.face.mtcnn_graphs import THREADS

OUTPUTS: Final = ("confidence", "offsets", "landmarks")
ROWS_AND_COLUMNS: Final = (1, 2)
TRACED_PX: Final = {"pnet": (61, 47), "rnet": (RNET_PX, RNET_PX), "onet": (ONET_PX, ONET_PX)}
# The pyramid hands the first network pictures of every size from one window on, odd ones among them.
PROVEN_PX: Final = {
    "pnet": ((PNET_WINDOW_PX, PNET_WINDOW_PX), (12, 13), (13, 12), (14, 15), (97, 64), (100, 133)),
    "rnet": ((RNET_PX, RNET_PX),),
    "onet": ((ONET_PX, ONET_PX),),
}
PROVEN_BATCHES: Final = (1, 5)


def export_detector(source: DetectorSource, folder: Path) -> AuxiliaryPart:
    """Write `pnet.onnx`, `rnet.onnx` and `onet.onnx`, and prove that they compute what torch computes.

    Args:
        source: the networks; MTCNN is the one that is known.
        folder: where the graphs go.

    Returns: the manifest's entry.

    Raises: ParityError: another detector, or a graph that differs. DownloadError, ChecksumError: no weights.
    """
    if not isinstance(source, Mtcnn):
        raise ParityError("Only MTCNN can be exported.", value=type(source).__name__, remedy="Use it as the detector.")
    for name, network in source.modules().items():
        path = folder / _file_name(name)
        spec = GraphInput(INPUT_NAME, (*TRACED_PX[name], 3), "uint8")
        free = ROWS_AND_COLUMNS if name == "pnet" else ()
        trace_graph(network, spec, path, OUTPUTS if name == "onet" else OUTPUTS[:2], free)
        tidy_graph(path)
        _require_parity(network, path, name)
    sources = {_file_name(name): _as_source(source, name) for name in TRACED_PX}
    return AuxiliaryPart(kind="mtcnn", sources=sources)


def _require_parity(network: torch.nn.Module, path: Path, name: str) -> None:
    session = open_ort_session(path, THREADS)
    generator = np.random.default_rng(0)
    for size in PROVEN_PX[name]:
        for batch in PROVEN_BATCHES:
            pixels = generator.integers(0, 256, (batch, *size, 3), dtype=np.uint8)
            with torch.inference_mode():
                expected = [output.numpy() for output in network(torch.from_numpy(pixels))]
            found = session.run(None, {INPUT_NAME: pixels})
            difference = max(float(np.abs(a - b).max()) for a, b in zip(found, expected, strict=True))
            if not difference <= LARGEST_DIFFERENCE:  # written so that NaN fails too
                raise ParityError(
                    f"The graph {name} may differ from torch by {LARGEST_DIFFERENCE:g} and does so by more, at {size}.",
                    value=f"{difference:.3g}",
                    remedy="Nothing was written; the module uses an operation the exporter translates differently.",
                )


def _as_source(source: Mtcnn, name: str) -> Source:
    weights = source.sources[name]
    return Source(
        name=weights.name,
        source=weights.source,
        version=weights.version,
        sha256=weights.sha256,
        licence=weights.licence,
    )


def _file_name(name: str) -> str:
    return f"{name}.onnx"
