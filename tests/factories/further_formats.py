"""WebM, M4A and HEIC, by the encoders of the packages that the extra installs; tests skip where it is not."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

MISSING = 'needs the extra "formats": pip install -e ".[formats]"'


def encoded_by_ffmpeg(
    samples: np.ndarray, rate_hz: int, kind: str, codec: str, pictures: str | None = None, **options: Any
) -> bytes:
    """A clip by FFmpeg.

    Args:
        samples: float32, (frames,) or (channels, frames).
        rate_hz: of them.
        kind: of container.
        codec: of the samples.
        pictures: codec of a second of film before them; none without it.
        options: of the container.
    """
    av = pytest.importorskip("av", reason=MISSING)
    rows = np.atleast_2d(np.asarray(samples, np.float32))
    layout = {1: "mono", 2: "stereo"}.get(len(rows), f"{len(rows)} channels")
    file = io.BytesIO()
    with av.open(file, "w", format=kind, options={name: str(value) for name, value in options.items()}) as container:
        stream = container.add_stream(codec, rate=rate_hz, layout=layout)
        stream.bit_rate = 192_000 * len(rows)
        if pictures is not None:
            film = container.add_stream(pictures, rate=25)
            film.width, film.height, film.pix_fmt = 64, 48, "yuv420p"
            for grey in range(25):
                rgb = np.full((48, 64, 3), 10 * grey, np.uint8)
                container.mux(film.encode(av.VideoFrame.from_ndarray(rgb).reformat(format="yuv420p")))
            container.mux(film.encode(None))
        # encoders differ in what they take, and each wants frames of its own length
        taken = stream.codec_context.codec.audio_formats[0].name
        resampler = av.AudioResampler(taken, layout, rate_hz, stream.codec_context.frame_size or 1024)
        whole = av.AudioFrame.from_ndarray(np.ascontiguousarray(rows), format="fltp", layout=layout)
        whole.sample_rate = rate_hz
        for frame in [*resampler.resample(whole), *resampler.resample(None)]:
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()


def heic(*pictures: Image.Image, **options: Any) -> bytes:
    """Pictures in one file by libheif, without loss unless options of pillow_heif's `save` say otherwise."""
    pillow_heif = pytest.importorskip("pillow_heif", reason=MISSING)
    file = io.BytesIO()
    images = pillow_heif.HeifFile()
    for picture in pictures:
        images.add_from_pillow(picture)
    images.save(file, **{"quality": -1, "chroma": 444, **options})
    return file.getvalue()


def box(name: bytes, *content: bytes) -> bytes:
    """A box of MP4 or HEIC."""
    inside = b"".join(content)
    return (8 + len(inside)).to_bytes(4, "big") + name + inside


def element(name: int, content: bytes) -> bytes:
    """An element of EBML."""
    return name.to_bytes((name.bit_length() + 7) // 8, "big") + (1 << 56 | len(content)).to_bytes(8, "big") + content
