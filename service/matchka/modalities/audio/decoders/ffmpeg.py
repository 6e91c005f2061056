"""WebM and MP4 by FFmpeg's demuxers: the first audio stream, by one of four decoders, and nothing beside the file.

What a file may make of the demuxers is in docs/decisions/208.
"""

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, NoReturn

import numpy as np

from matchka.errors import NotAudioError
from matchka.modalities.audio.decoders.clip import ClipBuilder, finite_peak, require_sample_rate, truncated
from matchka.runtime.deadline import current_deadline
from matchka.vectors import FloatArray

CODECS: Final = ("opus", "vorbis", "aac", "alac")  # FFmpeg's own decoders of what phones and browsers record
MOST_CHANNELS: Final = 8  # 7.1; a stream of 255 costs 255 times the work for the same seconds
# How much larger than the file its packets may be: WebM can compress them, 10 MB of zeros to 10 kB.
MOST_EXPANSION: Final = 2
MOST_ALAC_FRAMES: Final = 1 << 14  # of a packet; encoders write 4,096, and memory is taken for what is stated
BLOCK_FRAMES: Final = 1 << 14  # decoders hand over some 20 ms at a time
# Decoders of other streams, video above all, are not even opened to see what is in them; neither are their parsers.
OPTIONS: Final = MappingProxyType(
    {"codec_whitelist": ",".join(CODECS), "fflags": "+noparse+nofillin", "max_streams": "16"}
)
FULL_SCALE: Final = MappingProxyType({"int16": 2.0**15, "int32": 2.0**31, "float32": 1.0, "float64": 1.0})


@dataclass(frozen=True)
class Demuxer:
    """One of FFmpeg's, by its name and the options that it needs beside those of all."""

    name: str
    options: Mapping[str, str]


MATROSKA: Final = Demuxer("matroska", MappingProxyType({}))
# Edit lists are walked once for each of their entries, and only cut an encoder's first milliseconds; chapters are a
# stream of their own; a data reference names another file.
MOV: Final = Demuxer(
    "mov",
    MappingProxyType({"ignore_editlist": "1", "ignore_chapters": "1", "enable_drefs": "0", "use_absolute_path": "0"}),
)


def decode(data: bytes, demuxer: Demuxer, sample_rate_hz: int, max_duration_s: float) -> FloatArray:
    """Decode, average and resample the first audio stream.

    Args:
        data: the whole file.
        demuxer: of its container; no other is tried.
        sample_rate_hz: the rate wanted.
        max_duration_s: longest clip; decoding stops there, whatever the file states.

    Returns: float32, (samples,).

    Raises:
        NotAudioError: no audio stream, or of another codec or more channels.
        TruncatedFileError: damaged.
        UnsupportedSampleRateError, AudioTooLongError, NoSamplesError, NonFiniteSamplesError: see read_clip.
        ClientGoneError, DeadlinePassedError: the request was given up meanwhile.
    """
    import av  # only here: it is not installed everywhere, and loads FFmpeg

    options = {**OPTIONS, **demuxer.options}
    try:
        with av.open(io.BytesIO(data), format=demuxer.name, options=options, io_open=_refuse_other_files) as container:
            frames = _frames(container, len(data))
            first = next(frames, None)
            if first is None:
                return ClipBuilder(sample_rate_hz, sample_rate_hz, max_duration_s).finish()
            require_sample_rate(first.sample_rate)
            clip = ClipBuilder(first.sample_rate, sample_rate_hz, max_duration_s)
            return _read(first, frames, clip)
    except (av.error.FFmpegError, UnicodeDecodeError) as error:  # the second: names in a file that are no UTF-8
        raise truncated(str(error)) from error


def _frames(container: Any, file_bytes: int) -> Iterator[Any]:
    """The decoded frames of the first audio stream."""
    import av

    stream = next(iter(container.streams.audio), None)
    if stream is None:
        raise _no_voice("no audio stream")
    codec = stream.codec_context
    if codec is None or codec.name not in CODECS:
        raise _no_voice("another codec" if codec is None else codec.name)
    if codec.name == "alac" and int.from_bytes((codec.extradata or b"")[12:16], "big") > MOST_ALAC_FRAMES:
        raise _no_voice("ALAC packets of too many samples")
    for other in container.streams:
        if other is not stream:
            # its packets would be inflated between two of ours, past the deadline and the budget
            other.discard = av.stream.Discard.all
    codec.thread_count = 1
    deadline, demuxed = current_deadline(), 0
    for packet in container.demux(stream):
        deadline.require()
        demuxed += packet.size
        if demuxed > MOST_EXPANSION * file_bytes:
            raise truncated("packets larger than the file")
        for frame in packet.decode():
            if len(frame.layout.channels) > MOST_CHANNELS:
                raise _no_voice(f"{len(frame.layout.channels)} channels")
            yield frame


def _read(first: Any, others: Iterator[Any], clip: ClipBuilder) -> FloatArray:
    rate_hz, waiting, waiting_frames = first.sample_rate, [], 0
    frame = first
    while frame is not None:
        if frame.sample_rate != rate_hz:
            raise truncated(f"the sample rate changes from {rate_hz} to {frame.sample_rate} Hz")
        clip.count(frame.samples)
        waiting.append(_mono(frame))
        waiting_frames += frame.samples
        if waiting_frames >= BLOCK_FRAMES:
            clip.add(np.concatenate(waiting)[:, None])
            waiting, waiting_frames = [], 0
        frame = next(others, None)
    clip.add(np.concatenate([*waiting, np.zeros(0, np.float32)])[:, None], is_last=True)
    return clip.finish()


def _mono(frame: Any) -> FloatArray:
    """A frame, full scale 1, averaged over its channels, of which the next frame may have another number."""
    values = frame.to_ndarray()  # (channels, frames), or (1, frames * channels) where they alternate
    if not frame.format.is_planar:
        values = values.reshape(-1, len(frame.layout.channels)).T
    scale = FULL_SCALE.get(str(values.dtype))
    if scale is None:
        raise _no_voice(frame.format.name)
    samples: FloatArray = (values.mean(axis=0, dtype=np.float64) / scale).astype(np.float32)
    finite_peak(samples)
    return samples


def _refuse_other_files(url: str, _flags: int, _options: object) -> NoReturn:
    """What FFmpeg calls to open whatever a file refers to."""
    raise PermissionError(f"a clip may not open {url!r}")


def _no_voice(what: str) -> NotAudioError:
    return NotAudioError(
        "The file has no audio that is read.",
        value=what,
        remedy="Send one of Opus, Vorbis, AAC or ALAC, of at most 8 channels; or WAV, FLAC, OGG or MP3.",
    )
