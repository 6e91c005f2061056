"""A model of settings as a graph in a bundle."""

import shutil
from pathlib import Path
from typing import Final

import numpy as np
import torch

from matchka.bundles.bundle import Bundle, read_bundle, sha256_of
from matchka.bundles.manifest import GRAPH_NAME, REPORT_NAME, Source
from matchka.bundles.outputs.classes import ClassOutput
from matchka.bundles.outputs.embedding import EmbeddingOutput
from matchka.bundles.outputs.output import Output
from matchka.bundles.outputs.parameters import Parameter, ParametersOutput, WordSettings
from matchka.bundles.outputs.value import ValueOutput
from matchka.inference.session import OrtSession
from matchka.vectors import FloatArray
from matchka_export.bundle import BASE_VERSION, Facts, as_source, content_version, seal, staged_bundle
from matchka_export.errors import EvidenceError, GateError, ParityError
from matchka_export.gate.gate import DimGate, require_hashes, require_passed
from matchka_export.gate.parity import BATCH_SIZES
from matchka_export.graph.trace import tidy_graph, trace_graph
from matchka_export.words.evidence import WordsEvidence, read_words_evidence
from matchka_train.heads.words.fit import backbone_of
from matchka_train.heads.words.network import AXIS, EMBEDDING, PARAMETERS, WORD
from matchka_train.heads.words.storage import Fitted, load_words

TASK: Final = "settings of an equalizer, and what words say of them"
THREADS: Final = 1
TOLERANCE: Final = 1e-3  # of a part of the larger value, or of 1 where both are smaller: sums of logarithms in 32 bits
LARGEST_ERROR_DB: Final = 0.1  # of a setting that is found again from its whole embedding


def build_words_bundle(target: Path, model_path: Path, evidence_path: Path) -> Bundle:
    """Build a bundle out of learned numbers and what was measured of them; nothing is left behind if a step fails.

    Args:
        target: the bundle's folder; its name is the model's name.
        model_path: as save_words wrote it.
        evidence_path: as `matchka-export words` wrote it.

    Raises:
        ProjectionError, EvidenceError: not such files, or files of two models.
        GateError: what was measured is not good enough.
        ParityError: the graph does not compute what torch computes.
    """
    fitted, evidence = load_words(model_path), read_words_evidence(evidence_path)
    sha256 = sha256_of(model_path)
    backbone = backbone_of(fitted.recipe)
    if (evidence.projection_sha256, evidence.backbone_sha256) != (sha256, backbone.source.sha256):
        raise EvidenceError(
            f"The measurements {evidence_path} are of other learned numbers.",
            value=sha256,
            remedy="Measure again with `matchka-export words CHECKPOINT`.",
        )
    require_good(evidence)
    with staged_bundle(target) as folder:
        write_graph(fitted, folder / GRAPH_NAME)
        shutil.copyfile(evidence_path, folder / REPORT_NAME)
        facts = Facts(
            name=target.name,
            version=content_version(BASE_VERSION, backbone, sha256, evidence.dims),
            task=TASK,
            input=backbone.input,
            outputs=outputs_of(fitted, evidence),
            backbone=as_source(backbone.source),
            projection=Source(
                name="axis, rotation, decoders and curves of words",
                source="fitted by matchka-train; measured by " + "; ".join(evidence.commands),
                version=BASE_VERSION,
                sha256=sha256,
                licence="Apache-2.0",
            ),
            datasets=evidence.datasets,
        )
        require_hashes(facts)
        seal(folder, facts)
    return read_bundle(target)


def outputs_of(fitted: Fitted, evidence: WordsEvidence) -> dict[str, Output]:
    """What the manifest says of each output, by the graph's names."""
    recipe = fitted.recipe
    found: dict[str, Output] = {
        EMBEDDING: EmbeddingOutput(full_dim=recipe.dims[-1], dims=recipe.dims, per_dim=evidence.per_dim),
        WORD: ClassOutput(labels=recipe.words),
        AXIS: ValueOutput(unit=f"log-odds of {recipe.words[1]}"),
        PARAMETERS: ParametersOutput(
            dims=recipe.dims,
            parameters=tuple(
                Parameter(name=each.name, unit=each.unit, low=each.low, high=each.high, scale=each.scale)
                for each in recipe.fields
            ),
            strengths=recipe.strengths,
            words={
                word: WordSettings(contributors=each.contributors, settings=each.settings)
                for word, each in fitted.words.items()
            },
        ),
    }
    return {name: found[name] for name in fitted.model.output_names}


def require_good(evidence: WordsEvidence) -> None:
    """Refuse what may tell words apart worse than the floor, or loses more of settings than it.

    Raises: GateError, UndecidableError: names the number that failed.
    """
    gates = {dim: DimGate(report.gate, report.order) for dim, report in evidence.per_dim.items()}
    require_passed({dim: gate for dim, gate in gates.items() if gate.gate}, accept_worse=None)
    if evidence.words is None:
        return
    for dim, found in evidence.words.per_dim.items():
        is_full = int(dim) == evidence.dims[-1]
        if not found.error_db <= (LARGEST_ERROR_DB if is_full else found.pca_error_db):
            raise GateError(
                f"At dim {dim} settings are found again with an error of {found.error_db:.3g} dB, their principal "
                f"components' is {found.pca_error_db:.3g} dB, and at full dim at most {LARGEST_ERROR_DB} dB is taken.",
                value=found.error_db,
                remedy="Nothing was written. Train the decoders for longer, or on more settings.",
            )


def write_graph(fitted: Fitted, path: Path) -> None:
    """Write the graph and compare it with torch, on drawn settings and the ends of all ranges.

    Raises: ParityError: it does not compute the same.
    """
    model, spec = fitted.model, fitted.recipe.input
    trace_graph(model, spec.graph_input(), path, model.output_names)
    tidy_graph(path)
    expected_input = spec.graph_input()
    ends = np.array([[getattr(field, end) for field in spec.fields] for end in ("low", "high")], np.float32)
    rows = np.concatenate([ends, np.asarray(spec.example(sum(BATCH_SIZES), seed=0), np.float32)])
    with torch.inference_mode():
        expected = {
            name: found.numpy() for name, found in zip(model.output_names, model(torch.tensor(rows)), strict=True)
        }
    shapes = {name: found.shape[1:] for name, found in expected.items()}
    session = OrtSession(path, expected_input.name, expected_input.shape, shapes, THREADS)
    start = 0
    for size in (len(ends), *BATCH_SIZES):
        found = session.run(rows[start : start + size])
        for name, array in expected.items():
            _require_alike(name, found[name], array[start : start + size])
        start += size


def _require_alike(name: str, found: FloatArray, expected: FloatArray) -> None:
    scale = np.maximum(np.maximum(np.abs(found), np.abs(expected)), 1.0)
    largest = float((np.abs(found - expected) / scale).max())
    if not largest <= TOLERANCE:  # written so that NaN fails too
        raise ParityError(
            f"The graph's {name} may differ from torch by {TOLERANCE:g} of a value, and does so by more.",
            value=f"{largest:.3g}",
            remedy="Nothing was written; the module uses an operation the exporter translates differently.",
        )
