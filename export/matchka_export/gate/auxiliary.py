"""The graphs of a bundle beside the one that embeds: written, and proven to compute what torch computes."""

from pathlib import Path
from typing import Final

import numpy as np
import torch

from matchka.bundles.manifest import AuxiliaryPart
from matchka.inference.session import open_ort_session
from matchka.modalities.modality import GraphInput, InputArray
from matchka_export.bundle import as_source
from matchka_export.errors import ParityError
from matchka_export.graph.rewrite import rewrite_exactly
from matchka_export.graph.trace import trace_graph
from matchka_train.backbones.auxiliary import ExportablePart, RequiredPart, TracedNetwork
from matchka_train.backbones.backbone import Backbone
from matchka_train.backbones.served_graph import AUXILIARY_THREADS
from matchka_train.modalities import modality_of

PROVEN_BATCHES: Final = (1, 5)


def write_auxiliary(backbone: Backbone, folder: Path, downloads: Path) -> dict[str, AuxiliaryPart]:
    """Write the graphs of every part that a backbone, or its kind of input, has beside the one that embeds.

    Args:
        backbone: names those without which its samples are not read.
        folder: where the graphs go.
        downloads: the folder that keeps package files.

    Returns: the manifest's entries of them.

    Raises:
        ParityError: a part that cannot be written, or a graph that differs.
        DownloadError, ChecksumError: no weights.
    """
    extras = modality_of(backbone).extras(backbone.input, downloads)
    parts = [_require_exportable(part) for part in backbone.auxiliary] + list(extras)
    for part in parts:
        for file, graph in part.graphs().items():
            if isinstance(graph, bytes):
                (folder / file).write_bytes(graph)
            else:
                _write_traced(graph, folder / file)
    return {part.name: _entry(part) for part in parts}


def _entry(part: ExportablePart) -> AuxiliaryPart:
    return AuxiliaryPart(kind=part.kind, sources={file: as_source(weights) for file, weights in part.sources.items()})


def _require_exportable(part: RequiredPart) -> ExportablePart:
    if not isinstance(part, ExportablePart):
        raise ParityError(
            f"The {part.name} of this backbone cannot be exported.",
            value=type(part).__name__,
            remedy="Give the backbone one that names its networks.",
        )
    return part


def _write_traced(network: TracedNetwork, path: Path) -> None:
    trace_graph(network.module, network.input, path, network.outputs, network.free_axes, network.further_inputs)
    rewrite_exactly(path, to_the_bit=True)  # rounding moves a box by a pixel's hundredth, and with it every crop
    session = open_ort_session(path, AUXILIARY_THREADS)
    generator = np.random.default_rng(0)
    for shape in network.proven_shapes:
        for batch in PROVEN_BATCHES:
            given = {network.input.name: _noise(network.input, (batch, *shape), generator)}
            given |= {one.name: _noise(one, (batch, *one.fixed_shape), generator) for one in network.further_inputs}
            with torch.inference_mode():
                returned = network.module(*(torch.from_numpy(rows) for rows in given.values()))
                expected = [output.numpy().astype(np.float64) for output in _outputs(returned)]
            found = session.run(None, given)
            difference = max(float(np.abs(a - b).max()) for a, b in zip(found, expected, strict=True))
            if not difference <= network.tolerance:  # written so that NaN fails too
                raise ParityError(
                    f"The graph {path.name} may differ from torch by {network.tolerance:g} and does so by more, at "
                    f"{shape}.",
                    value=f"{difference:.3g}",
                    remedy="Nothing was written; the module uses an operation the exporter translates differently.",
                )


def _noise(spec: GraphInput, shape: tuple[int, ...], generator: np.random.Generator) -> InputArray:
    if spec.dtype == "uint8":
        return generator.integers(0, 256, shape, dtype=np.uint8)
    return generator.standard_normal(shape, dtype=np.float32)


def _outputs(returned: torch.Tensor | tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    return (returned,) if isinstance(returned, torch.Tensor) else returned
