"""A trained head -> the pair of files that `defaults` ships: the head, and what was measured of it."""

import shutil
from pathlib import Path

from rich.console import Console
from rich.table import Table

from matchka.runtime.atomic_file import atomic_file
from matchka_export.phonemes.evidence import PhonemeEvidence, write_phoneme_evidence
from matchka_export.phonemes.gate import require_head_passed
from matchka_export.phonemes.measure import measure_head
from matchka_train.datasets.transcripts import ReadSpeech
from matchka_train.progress import show_progress


def read_speech(manifest: Path) -> ReadSpeech:
    """The speakers of speechocean762 that take no part in training."""
    return ReadSpeech(
        corpus="speechocean762",
        domain="read-english",
        path=manifest,
        where={"split": "dev"},
        source="speechocean762 (github.com/jimbozhang/speechocean762): 60 other speakers",
        licence="CC-BY-4.0",
    )


def ship_head(
    head: Path,
    floor: Path,
    manifest: Path,
    marks: Path | None,
    target: Path,
    samples: Path,
    downloads: Path,
    console: Console,
) -> PhonemeEvidence:
    """Judge a head's graph, and write TARGET.safetensors with TARGET.json if it passes.

    Args:
        head: the head.
        floor: a head on log-mel frames, trained on the same clips.
        manifest: of read speech.
        marks: what the benchmark found of people's marks; None leaves their scale out.
        target: without an ending.
        samples: folder of recordings of other microphones.
        downloads: the folder that keeps package files.
        console: where progress and the table go.

    Raises: MatchkaError: it did not pass, or something is not there; nothing is written.
    """
    with show_progress(console) as progress:
        evidence = measure_head(head, floor, read_speech(manifest), marks, samples, downloads, progress)
    console.print(head_table(evidence))
    require_head_passed(evidence)
    with atomic_file(target.with_suffix(".safetensors")) as partial:
        shutil.copyfile(head, partial)
    write_phoneme_evidence(target.with_suffix(".json"), evidence)
    return evidence


def head_table(evidence: PhonemeEvidence) -> Table:
    """What the gate found and what thresholds do to people who set none, in per cent."""
    table = Table(title="Gate: better than a head on log-mel frames; and phrases, at thresholds of other people")
    for column in ("measured", "%", "log-mel %", "bound", "verdict"):
        table.add_column(column, justify="left" if column in ("measured", "verdict") else "right")
    for name, at in evidence.gate.items():
        rates = [f"{100 * at.rate:.2f}", f"{100 * at.floor_rate:.2f}", f"{100 * at.upper:+.2f}"]
        table.add_row(name, *rates, at.verdict)
    table.add_section()
    for words, rows in evidence.unseen.items():
        for row in rows:
            shown = f"rejected, {words} words, FAR {row.far:g}"
            table.add_row(shown, f"{100 * row.rejected:.2f}", "", f"accepted {100 * row.accepted:.2f}", "")
    return table
