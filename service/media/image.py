"""Images: bytes -> an upright RGB picture, of bounded size."""

import io
import struct
from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import Image, UnidentifiedImageError

from service.errors import EmptyFileError, ImageTooLargeError, NotImageError, TruncatedFileError

READABLE_FORMATS: Final = ("JPEG", "PNG", "WEBP", "BMP")  # Pillow reads more; fewer decoders face strangers
ORIENTATION_TAG: Final = 0x0112
JPEG_END: Final = b"\xff\xd9"
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
# What Pillow's parsers raise on damaged or hostile files.
DAMAGE: Final = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    OverflowError,
    EOFError,
    struct.error,
)


@dataclass(frozen=True)
class ImageLimits:
    """How many million pixels a picture may have."""

    max_megapixels: float


def read_image(data: bytes, limits: ImageLimits) -> Image.Image:
    """Decode JPEG, PNG, WebP or BMP and turn it upright; of an animation, the first picture.

    8 and 16 bit, grey, palette, RGB, CMYK; transparency is laid over white. Of the metadata only the EXIF orientation
    is read; colour profiles are ignored. GIF, SVG and all else are refused.

    Args:
        data: the whole file.
        limits: checked before any pixel is decoded.

    Returns: mode RGB.

    Raises:
        EmptyFileError, NotImageError: not a picture of a known kind.
        ImageTooLargeError: more pixels than allowed.
        TruncatedFileError: damaged, or cut short.
    """
    if not data:
        raise EmptyFileError("The file is empty (0 bytes).", remedy="Send the picture's bytes in the file field.")
    try:
        image = Image.open(io.BytesIO(data), formats=READABLE_FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large(limits, error) from error
    except UnidentifiedImageError as error:
        raise NotImageError(
            "The file is not a picture of a known kind.", remedy="Send JPEG, PNG, WebP or BMP."
        ) from error
    except DAMAGE as error:
        raise _damaged(error) from error
    with image:
        if image.width * image.height > limits.max_megapixels * 1e6:
            raise _too_large(limits, f"{image.width} x {image.height}")
        if image.format == "JPEG" and JPEG_END not in data[-64 * 1024 :]:
            raise _damaged("no end-of-image marker")
        try:
            image.load()
            return _to_rgb(_turn_upright(image))
        except DAMAGE as error:
            raise _damaged(error) from error


def _turn_upright(image: Image.Image) -> Image.Image:
    try:
        orientation = image.getexif().get(ORIENTATION_TAG, 1)
    except DAMAGE:
        return image  # a damaged note about the picture does not spoil the picture
    method = UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    return image if method is None else image.transpose(method)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16-bit grey: keep the upper byte
        wide = np.asarray(image).astype(np.int64)
        return Image.fromarray(np.clip(wide >> 8, 0, 255).astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        over = image.convert("RGBA")
        below = Image.new("RGBA", over.size, (*WHITE, 255))
        return Image.alpha_composite(below, over).convert("RGB")
    return image.convert("RGB")


def _too_large(limits: ImageLimits, value: object) -> ImageTooLargeError:
    return ImageTooLargeError(
        f"The picture has more than {limits.max_megapixels:g} million pixels.",
        value=value,
        remedy="Send it smaller; 640 x 480 is enough for one face.",
    )


def _damaged(value: object) -> TruncatedFileError:
    return TruncatedFileError(
        "The picture is damaged or cut short.", value=value, remedy="Send the whole file; check the upload."
    )
