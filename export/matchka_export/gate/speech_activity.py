"""The detector of speech of a voice bundle: a published graph, taken out of its package as it is."""

from pathlib import Path

from rich.console import Console

from matchka.bundles.manifest import AuxiliaryPart, Source
from matchka.modalities.audio.spec import SPEECH_GRAPH_NAME
from matchka.modalities.modality import InputSpec
from matchka_train.weights.package_catalogue import SPEECH_ACTIVITY_GRAPH
from matchka_train.weights.packages import read_member


def write_speech_activity(spec: InputSpec, folder: Path, downloads: Path, console: Console) -> AuxiliaryPart | None:
    """Write `speech.onnx`, where the backbone takes clips of the detector's sample rate.

    Args:
        spec: the backbone's input.
        folder: where the graph goes.
        downloads: the folder that keeps package files.
        console: where the progress bar goes.

    Returns: the manifest's entry, or None: such a bundle refuses silence at enrolment, but no other sound.

    Raises: DownloadError, ChecksumError: the graph is not to be had, or is another one.
    """
    if "speech_activity" not in spec.auxiliary_graphs():
        return None
    member = SPEECH_ACTIVITY_GRAPH
    (folder / SPEECH_GRAPH_NAME).write_bytes(read_member(member, downloads, console))
    source = Source(
        name="Silero voice activity detector",
        source=f"Python package {member.package.name}, member {member.path}",
        version=member.package.version,
        sha256=member.sha256,
        licence=member.package.licence,
    )
    return AuxiliaryPart(kind="silero", sources={SPEECH_GRAPH_NAME: source})
