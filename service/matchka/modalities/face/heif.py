"""HEIC, which phones take pictures in: libheif, by Pillow's plug-in class, which is used and never registered."""

import io
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from PIL import Image

from matchka.modalities.extra_formats import ExtraFormat

ImageOpener: TypeAlias = Callable[[bytes], Image.Image]

# Brands of pictures by HEVC, and of those that state no codec (ISO/IEC 23008-12, B.4.1, 10.2): AVIF has its own.
BRANDS: Final = (b"heic", b"heix", b"heim", b"heis", b"mif1")
# Memory beside Pillow's own 4 bytes per pixel while a picture is decoded, measured (docs/decisions/208): planes and RGB
# of 8 bit, which deep ones with halved colours come to as well; other deep ones keep 16 bit of each until the end.
PLAIN_BYTES: Final = 5.5
DEEP_BYTES: Final = 16.5


def begins_like_heic(data: bytes) -> bool:
    """Whether a file begins like HEIC.

    >>> begins_like_heic(bytes(4) + b"ftypheic"), begins_like_heic(bytes(4) + b"ftypavif")
    (True, False)
    """
    return data[4:8] == b"ftyp" and data[8:12] in BRANDS


def open_heic(data: bytes) -> Image.Image:
    """Read the header of the primary picture; its pixels are decoded by load(), upright.

    libheif keeps its own limits on items, boxes and memory, and refuses pixels that are more than its header states.

    Raises: OSError, SyntaxError, RuntimeError: damaged, or of another codec.
    """
    import pillow_heif  # only here: it is not installed everywhere

    pillow_heif.options.DECODE_THREADS = 1  # requests are what is done side by side
    pillow_heif.options.THUMBNAILS = pillow_heif.options.DEPTH_IMAGES = pillow_heif.options.AUX_IMAGES = False
    image: Image.Image = pillow_heif.HeifImageFile(io.BytesIO(data))
    for note in ("exif", "xmp"):  # its own transformations turn a picture; what notes say of it is not to be done again
        image.info.pop(note, None)
    return image


def decoding_bytes(info: Mapping[Any, Any], mode: str) -> float:
    """Most memory per pixel that decoding takes beside Pillow's. Args: info, mode: of the opened picture.

    >>> decoding_bytes({"bit_depth": 8, "chroma": "444"}, "RGB"), decoding_bytes({"bit_depth": 10}, "RGBA")
    (5.5, 16.5)
    """
    is_plain = info.get("bit_depth") == 8 or (info.get("chroma") == "420" and mode == "RGB")
    return PLAIN_BYTES if is_plain else DEEP_BYTES


EXTRA_FORMATS: Final[tuple[ExtraFormat[ImageOpener], ...]] = (
    ExtraFormat("heic", ("image/heic", "image/heif"), "pillow_heif", begins_like_heic, open_heic),
)
