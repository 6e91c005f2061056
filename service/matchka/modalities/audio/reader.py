"""A clip -> the windows that a graph takes."""

import logging
from dataclasses import dataclass, field
from typing import Final

from matchka.errors import BundleError
from matchka.modalities.audio.decoding import AudioLimits, read_clip
from matchka.modalities.audio.settings import AudioSettings
from matchka.modalities.audio.spec import SPEECH_GRAPH_NAME, AudioInputSpec
from matchka.modalities.audio.speech_activity import INPUT_SHAPES, SpeechDetector
from matchka.modalities.audio.windows import split_windows
from matchka.modalities.modality import Graphs, Observation
from matchka.runtime.stage_timer import StageTimes

LOGGER: Final = logging.getLogger("matchka.modalities.audio.reader")


@dataclass(frozen=True)
class AudioOptions:
    """How a clip is read. Attributes: must_be_speech: refuse what is loud enough but no voice."""

    must_be_speech: bool


@dataclass(frozen=True)
class VoiceSampleReader:
    """Audio files to windows."""

    spec: AudioInputSpec
    limits: AudioLimits
    times: StageTimes = field(default_factory=StageTimes)
    speech: SpeechDetector | None = None

    def read(self, data: bytes, options: AudioOptions) -> list[Observation]:
        """One observation: the clip's windows.

        Raises: MatchkaError: see read_clip; NoSpeechError where it must be speech and there is a detector to tell.
        """
        with self.times.timed("decode"):
            clip = read_clip(data, self.spec.sample_rate_hz, self.limits)
        with self.times.timed("prepare"):
            if options.must_be_speech and self.speech is not None:
                self.speech.require_speech(clip, self.limits.min_speech_s)
            return [Observation(split_windows(clip, self.spec), None)]


def open_reader(spec: AudioInputSpec, limits: AudioSettings, graphs: Graphs, times: StageTimes) -> VoiceSampleReader:
    """The reader of one bundle.

    Raises: BundleError: the detector of speech takes something else.
    """
    return VoiceSampleReader(spec, limits.clip_limits, times, _open_speech_detector(graphs))


def _open_speech_detector(graphs: Graphs) -> SpeechDetector | None:
    """The detector of speech, if the bundle has one; the log says if not."""
    if not graphs.has(SPEECH_GRAPH_NAME):
        LOGGER.warning(
            "the bundle %s has no detector of speech: any sound that is loud enough can be enrolled; build it again",
            graphs.label,
        )
        return None
    graph = graphs.open(SPEECH_GRAPH_NAME, threads=1)  # its recurrent steps come one after the other
    found = {graph_input.name: tuple(graph_input.shape[1:]) for graph_input in graph.get_inputs()}
    if found != INPUT_SHAPES:
        raise BundleError(
            f"{graphs.folder / SPEECH_GRAPH_NAME} must take {INPUT_SHAPES} behind the first axis of each input.",
            value=found,
            remedy="Build the bundle again with `matchka-export defaults`.",
        )
    return SpeechDetector(graph)
