"""The table of further containers of audio."""

from collections.abc import Callable
from typing import Final, TypeAlias

from matchka.modalities.audio.decoders.mp4 import begins_like_mp4, decode_mp4
from matchka.modalities.audio.decoders.webm import begins_like_webm, decode_webm
from matchka.modalities.extra_formats import ExtraFormat
from matchka.vectors import FloatArray

AudioDecoder: TypeAlias = Callable[
    [bytes, int, float], FloatArray
]  # the file, the rate wanted in Hz, longest clip in s

EXTRA_FORMATS: Final[tuple[ExtraFormat[AudioDecoder], ...]] = (
    ExtraFormat("webm", ("audio/webm",), "av", begins_like_webm, decode_webm),
    ExtraFormat("mp4", ("audio/mp4",), "av", begins_like_mp4, decode_mp4),
)
