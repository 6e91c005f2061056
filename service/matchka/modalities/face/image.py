"""Images: bytes -> an upright RGB picture, of bounded size, shape and cost."""

import io
import struct
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile

from matchka.errors import (
    EmptyFileError,
    ImageTooComplexError,
    ImageTooLargeError,
    ImageTooThinError,
    NoFaceError,
    NotImageError,
)
from matchka.modalities.extra_formats import find_format
from matchka.modalities.face import heif
from matchka.modalities.face.image_files import BareFile, damaged, read_orientation, strip_metadata

# Pillow reads more; fewer decoders are exposed to untrusted input
READABLE_FORMATS: Final = ("JPEG", "PNG", "WEBP", "BMP")
ALWAYS_READ: Final = "JPEG, PNG, WebP or BMP"
FORMATS_SETTING: Final = "MATCHKA_FACE__FORMATS"
WHITE: Final = (255, 255, 255)
# How a picture of each EXIF orientation is turned upright (Exif 2.32, 4.6.4).
UPRIGHT: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# No face can be told in fewer pixels, and no camera takes a longer picture. The work of detection grows with the long
# side, not with the pixels: a strip of 2,000,000 x 1 took 7.4 GB.
MIN_SIDE_PX: Final = 16
MAX_ASPECT: Final = 20
# Memory while a picture is decoded, bytes per pixel. Pillow keeps 4, and 4 more while it converts or turns them;
# WebP's decoder keeps two more pictures and some rows, and hands its answer over in another; a JPEG of several passes
# keeps 2 per coefficient until the last one.
PIXEL_BYTES: Final = 4
WEBP_BYTES: Final = 13
COEFFICIENT_BYTES: Final = 2
# What a picture of the allowed size may take, its file twice included: 250 MiB at 25 million pixels.
ALLOWED_BYTES_PER_PIXEL: Final = 10.5
BMP_RUN_LENGTHS: Final = (1, 2)  # compression of BMP that Pillow undoes run by run, in Python
BAND_PX: Final = 1 << 20  # pixels converted at a time, where a conversion makes copies
# What Pillow's parsers, and libheif (RuntimeError), raise on damaged or hostile files.
DAMAGE: Final = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    OverflowError,
    EOFError,
    RuntimeError,
    struct.error,
)

Part: TypeAlias = tuple[float, float, float, float]  # x0, y0, x1, y1 in pixels


@dataclass(frozen=True)
class ImageLimits:
    """How many million pixels a picture may have, and which further formats are read (heif.EXTRA_FORMATS)."""

    max_megapixels: float
    formats: tuple[str, ...] = ()


def read_image(data: bytes, limits: ImageLimits) -> Image.Image:
    """Decode JPEG, PNG, WebP, BMP or a further format and turn it upright; of several pictures, the first or main one.

    8 and 16 bit, grey, palette, RGB, CMYK; transparency is laid over white. Of the metadata only the
    orientation is read, from EXIF or else XMP; colour profiles are ignored. GIF, SVG and all else are refused.

    A JPEG that would take too much memory, one of several passes without subsampling, is decoded at half its size and
    enlarged to the size it states; what that changes of a face is in docs/decisions/045.

    Args:
        data: the whole file.
        limits: checked before any pixel is decoded.

    Returns: mode RGB.

    Raises:
        EmptyFileError, NotImageError: not a picture of a known kind.
        FormatNotEnabledError: of a further format that the limits do not name.
        ImageTooLargeError: more pixels than allowed, or of a format that takes too much memory for as many.
        ImageTooThinError: more than 20 times as long as it is wide.
        NoFaceError: a side of less than 16 pixels.
        ImageTooComplexError: decoding would take more work than the pixels warrant.
        TruncatedFileError: damaged, or cut short.
    """
    if not data:
        raise EmptyFileError("The file is empty (0 bytes).", remedy="Send the picture's bytes in the file field.")
    bare = strip_metadata(data)
    extra = find_format(data, heif.EXTRA_FORMATS, limits.formats, setting=FORMATS_SETTING, always=ALWAYS_READ)
    try:
        image = Image.open(io.BytesIO(bare.data), formats=READABLE_FORMATS) if extra is None else extra.decoder(data)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large(limits, error) from error
    except UnidentifiedImageError as error:
        raise NotImageError("The file is not a picture of a known kind.", remedy=f"Send {ALWAYS_READ}.") from error
    except DAMAGE as error:
        raise damaged(error) from error
    try:
        with image:
            _require_shape(image, limits)
            size, drafted = image.size, _draft(image, bare, limits)
            _require_memory(image, bare, limits, size)
            image.load()
        rgb = _to_rgb(image)  # behind `with`, which lets go of the decoder's answer
    except DAMAGE as error:
        raise damaged(error) from error
    exif, xmp = bare.exif or image.info.get("exif", b""), bare.xmp or image.info.get("xmp", b"")
    if rgb is not image:
        image.close()  # its pixels are not needed twice while they are turned
    if drafted is not None:
        rgb = rgb.resize(size, Image.Resampling.BILINEAR, drafted)
    turn = UPRIGHT.get(read_orientation(exif, xmp))
    return rgb if turn is None else rgb.transpose(turn)


def _require_shape(image: Image.Image, limits: ImageLimits) -> None:
    """Refuse what would cost more work than a square picture of the allowed pixels."""
    pixels, size = image.width * image.height, f"{image.width} x {image.height}"
    if pixels > limits.max_megapixels * 1e6:
        raise _too_large(limits, size)
    if max(image.size) > MAX_ASPECT * min(image.size):
        raise ImageTooThinError(
            f"The picture is more than {MAX_ASPECT} times as long as it is wide.",
            value=size,
            remedy="Cut out the part that shows the face.",
        )
    if min(image.size) < MIN_SIDE_PX:
        raise NoFaceError(
            f"The picture's shorter side has less than {MIN_SIDE_PX} pixels, too few to show a face.",
            value=size,
            remedy="Send a larger picture; 640 x 480 is enough for one face.",
        )
    if image.format == "BMP" and image.info.get("compression") in BMP_RUN_LENGTHS:
        raise ImageTooComplexError("Run-length encoded BMP is not read.", remedy="Save it as PNG.")


def _draft(image: Image.Image, bare: BareFile, limits: ImageLimits) -> Part | None:
    """Have a JPEG that would take too much memory decoded at half its size.

    Returns: the part of the decoded picture that the whole one shows; None where it is decoded as it is.
    """
    if not isinstance(image, JpegImageFile) or _decoding_bytes(image, bare, image.size) <= _allowed_bytes(limits):
        return None
    drafted = image.draft(None, (image.width // 2, image.height // 2))
    return None if drafted is None else drafted[1]


def _require_memory(image: Image.Image, bare: BareFile, limits: ImageLimits, size: tuple[int, int]) -> None:
    """Refuse what would take more memory than a plain picture of the allowed pixels."""
    needed_bytes = _decoding_bytes(image, bare, size)
    if needed_bytes > _allowed_bytes(limits):
        raise ImageTooLargeError(
            f"Decoding the picture takes more memory than {limits.max_megapixels:g} million pixels of plain JPEG.",
            value=f"{size[0]} x {size[1]} {image.format}, {needed_bytes / 2**20:.0f} MiB",
            remedy="Send it smaller, or as plain JPEG or PNG; 640 x 480 is enough for one face.",
        )


def _allowed_bytes(limits: ImageLimits) -> float:
    return ALLOWED_BYTES_PER_PIXEL * limits.max_megapixels * 1e6


def _decoding_bytes(image: Image.Image, bare: BareFile, size: tuple[int, int]) -> float:
    """Most memory that a picture of a size takes while it is decoded at `image.size`, enlarged and turned."""
    pixels, decoded = size[0] * size[1], PIXEL_BYTES * image.width * image.height
    decoder = 0.0
    if image.format == "WEBP":
        decoder = WEBP_BYTES * pixels
    elif image.format == "HEIF":
        decoder = heif.decoding_bytes(image.info, image.mode) * pixels
    elif isinstance(image, JpegImageFile) and (bare.scans > 1 or "progressive" in image.info):
        areas = [across * down for _, across, down, _ in image.layer]
        widest = max(across for _, across, _, _ in image.layer) * max(down for _, _, down, _ in image.layer)
        decoder = COEFFICIENT_BYTES * sum(areas) / max(widest, 1) * pixels
    return max(decoder + decoded, 2 * PIXEL_BYTES * pixels) + 2 * len(bare.data)


def _to_rgb(image: Image.Image) -> Image.Image:
    if isinstance(image, JpegImageFile) and image.mode == "RGB":
        return image  # what a conversion would copy
    is_wide, is_clear = image.mode.startswith("I"), image.has_transparency_data
    if not (is_wide or is_clear):
        return image.convert("RGB")
    rgb = Image.new("RGB", image.size)
    rows = max(1, BAND_PX // image.width)
    for top in range(0, image.height, rows):
        band = image.crop((0, top, image.width, min(top + rows, image.height)))
        rgb.paste(_upper_bytes(band) if is_wide else _over_white(band), (0, top))
    return rgb


def _upper_bytes(image: Image.Image) -> Image.Image:
    """16-bit grey to 8 bit."""
    wide = np.asarray(image).astype(np.int64)
    return Image.fromarray(np.clip(wide >> 8, 0, 255).astype(np.uint8)).convert("RGB")


def _over_white(image: Image.Image) -> Image.Image:
    over = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", over.size, (*WHITE, 255)), over).convert("RGB")


def _too_large(limits: ImageLimits, value: object) -> ImageTooLargeError:
    return ImageTooLargeError(
        f"The picture has more than {limits.max_megapixels:g} million pixels.",
        value=value,
        remedy="Send it smaller; 640 x 480 is enough for one face.",
    )
