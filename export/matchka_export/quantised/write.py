"""The 8-bit graph of a bundle: written from its graph in 32 bits, and judged on the machine that writes it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import onnx

from matchka.bundles.outputs.embedding import EMBEDDINGS
from matchka.bundles.outputs.output import Output
from matchka.bundles.variant import Variant
from matchka.errors import BundleError
from matchka.inference.session import OrtSession, Session
from matchka.modalities.modality import InputArray, InputSpec
from matchka_export.errors import QuantisationError
from matchka_export.graph.trace import strip_provenance
from matchka_export.quantised.evidence import QuantisedEvidence
from matchka_export.quantised.files import EXAMPLES_NAME, INT8_NAME
from matchka_export.quantised.gate import FULL_RUN, BesideFloat, put_beside
from matchka_export.quantised.quantiser import Quantiser

# where ONNX Runtime multiplies 8-bit numbers without saturating sums of two products, and fast
VNNI: Final = ("avx512_vnni", "avx_vnni")
EXAMPLES: Final = 3
THREADS: Final = 1


@dataclass(frozen=True)
class GraphForm:
    """What a bundle's graph takes and returns. Attributes: as of matchka.bundles.manifest.Manifest and its outputs."""

    input: InputSpec
    full_dim: int
    heads: Mapping[str, Output]

    def open(self, path: Path) -> Session:
        """A graph of this form on one thread.

        Raises: BundleError: it is none.
        """
        given = self.input.graph_input()
        outputs = {EMBEDDINGS: (self.full_dim,)} | {name: head.row_shape for name, head in self.heads.items()}
        return OrtSession(path, given.name, given.shape, outputs, THREADS, given.dtype)


@dataclass(frozen=True)
class WrittenVariant:
    """An 8-bit graph that was written, or why none was.

    Attributes:
        variant: what the manifest says of it; None where it was refused.
        refusal: why; None where it was not.
        beside: what was found of it; None where it could not be written at all.
    """

    variant: Variant | None
    refusal: str | None
    beside: BesideFloat | None


def write_quantised_graph(own: Path, path: Path, quantiser: Quantiser) -> None:
    """Write a graph in 8 bits.

    Raises: QuantisationError: the quantiser is not made for such a graph.
    """
    quantised = quantiser.quantise(onnx.load(str(own)))
    strip_provenance(quantised)
    onnx.save_model(quantised, path, save_as_external_data=False)


def write_variant(
    folder: Path, own: Path, form: GraphForm, evidence: QuantisedEvidence, rows: InputArray
) -> WrittenVariant:
    """Write the 8-bit graph and its examples into a bundle's folder, if it is right and faster on this machine.

    Args:
        folder: of the bundle.
        own: its graph in 32 bits.
        form: what both take and return.
        evidence: what was learned and measured of it.
        rows: to compare the two on; real ones where there are any.
    """
    path = folder / INT8_NAME
    try:
        write_quantised_graph(own, path, evidence.quantiser)
        sessions = form.open(own), form.open(path)
    except (QuantisationError, BundleError) as error:
        path.unlink(missing_ok=True)
        return WrittenVariant(None, f"{error.detail}", None)
    beside = put_beside(
        *sessions, EMBEDDINGS, rows if len(rows) >= FULL_RUN else np.resize(rows, (FULL_RUN, *rows.shape[1:]))
    )
    refusal = beside.refusal(evidence.quantiser.least_cosine_made)
    if refusal is not None:
        path.unlink()
        return WrittenVariant(None, refusal, beside)
    examples = form.input.example(EXAMPLES, seed=0)
    np.savez(folder / EXAMPLES_NAME, rows=examples, embeddings=sessions[0].run(examples)[EMBEDDINGS])
    variant = Variant(
        arithmetic="int8",
        cpu_features=VNNI,
        least_cosine=evidence.quantiser.least_cosine_made,
        examples=EXAMPLES_NAME,
        interchange=evidence.interchange,
        speed=evidence.speed,
        measured_on=evidence.measured_on,
    )
    return WrittenVariant(variant, None, beside)
