"""Audio as a modality."""

from collections.abc import Mapping
from typing import Final

from matchka.errors import (
    AudioTooLongError,
    NonFiniteSamplesError,
    NoSamplesError,
    NoSpeechError,
    NotAudioError,
    SilenceError,
    TooLittleSpeechError,
    UnsupportedSampleRateError,
)
from matchka.modalities.audio.cost import cost_s
from matchka.modalities.audio.decoders.table import EXTRA_FORMATS
from matchka.modalities.audio.reader import AudioOptions, open_reader
from matchka.modalities.audio.settings import AudioSettings
from matchka.modalities.audio.spec import AudioInputSpec
from matchka.modalities.modality import Modality, Purpose


def options_for(purpose: Purpose, _given: Mapping[str, str]) -> AudioOptions:
    """What is enrolled has to be speech; a caller has nothing to choose."""
    return AudioOptions(must_be_speech=purpose == "enrolment")


AUDIO: Final = Modality(
    name="audio",
    samples="audio",
    things="voices",
    spec=AudioInputSpec,
    limits=AudioSettings,
    open_reader=open_reader,
    option_names=(),
    options_for=options_for,
    media_types=("audio/wav", "audio/flac", "audio/ogg", "audio/mpeg"),
    extra_media_types=tuple(name for known in EXTRA_FORMATS for name in known.media_types),
    cost_s=cost_s,
    errors={
        NotAudioError: "not_audio",
        NoSamplesError: "no_samples",
        SilenceError: "silence",
        TooLittleSpeechError: "too_little_speech",
        NoSpeechError: "no_speech",
        NonFiniteSamplesError: "non_finite_samples",
        AudioTooLongError: "audio_too_long",
        UnsupportedSampleRateError: "unsupported_sample_rate",
    },
)
