"""Pictures of extreme shapes and large declared sizes, in few bytes, and large ones of an honest shape beside them."""

import io
import random
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Final

from PIL import Image

from loadtests.torture.hostile.exchange import Case
from loadtests.torture.hostile.generators.order import endless
from loadtests.torture.hostile.wire import Material, form

MOST_PIXELS: Final = 24_000_000  # that the service takes by default
LONGEST_JPEG: Final = 65_500
LONGEST_WEBP: Final = 16_383
GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6  # PNG's colour types
CHANNELS: Final = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGBA: 4}
# Bits and colour type of PNG files; each is unpacked and converted in another way.
DEPTHS: Final = (
    (1, GREY),
    (8, GREY),
    (16, GREY),
    (8, RGB),
    (16, RGB),
    (8, PALETTE),
    (8, GREY_ALPHA),
    (8, RGBA),
    (16, RGBA),
)
LARGE: Final = ((16, GREY), (8, RGB), (8, PALETTE), (8, GREY_ALPHA), (8, RGBA), (16, RGBA))

Picture = tuple[str, Callable[[], bytes]]


def within_limit_cases(material: Material, rng: random.Random) -> Iterator[Case]:
    """Squares and 3:2 of the most pixels that are allowed, in every depth, and turned by a note about them."""
    shapes = [(4898, 4898), (6000, 4000), (4000, 6000)]
    kinds: list[Picture] = [_png(*shapes[n % 3], *depth) for n, depth in enumerate(LARGE)]
    kinds += [_pillow("JPEG", "CMYK", 4898, 4898), _pillow("JPEG", "RGB", 6000, 4000, orientation=6)]
    kinds += [_pillow("JPEG", "RGB", 4898, 4898, progressive=True), _pillow("WEBP", "RGBA", 6000, 4000)]
    kinds += [_pillow("JPEG", "CMYK", 4898, 4898, progressive=True), _pillow("WEBP", "RGB", 4032, 3024)]
    kinds += [_tight(material.picture, share) for share in (0.8, 0.6, 0.5)]
    yield from _cases(kinds, material, rng)


def thin_cases(material: Material, rng: random.Random) -> Iterator[Case]:
    """Strips of up to 200,000 px, lying and standing."""
    kinds: list[Picture] = [_png(200_000, 20, 8, RGB), _png(20, 200_000, 8, RGB)]
    for depth in DEPTHS:
        long, short = round(10 ** rng.uniform(3.5, 5.3)), rng.randint(1, 20)
        kinds += [_png(long, short, *depth), _png(short, long, *depth)]
    kinds += [_png(100_000, 1, 8, GREY), _png(1, 100_000, 8, GREY), _png(20_000, 30, 8, RGB)]
    for mode in ("L", "RGB", "CMYK"):
        kinds += [_pillow("JPEG", mode, LONGEST_JPEG, 1), _pillow("JPEG", mode, 7, LONGEST_JPEG)]
    kinds += [_pillow("WEBP", "RGBA", LONGEST_WEBP, 3), _pillow("WEBP", "RGB", 1, LONGEST_WEBP)]
    kinds += [_animated("WEBP", LONGEST_WEBP, 4), _animated("PNG", 150_000, 2), _bmp(150_000, 3), _bmp(5, -150_000)]
    yield from _cases(kinds, material, rng)


def giant_cases(material: Material, rng: random.Random) -> Iterator[Case]:
    """One line of as many pixels as may be, or far more, declared or there."""
    kinds: list[Picture] = [
        _png(2_000_000, 1, 8, GREY),
        _png(1, 2_000_000, 8, PALETTE),
        _png(MOST_PIXELS, 1, 1, GREY),
        _png(MOST_PIXELS, 1, 8, RGB),
        _png(1, MOST_PIXELS, 8, GREY),
        _png(1_200_000, 20, 16, GREY),
        _png(4_000_000, 6, 8, RGBA),
        _pillow("JPEG", "CMYK", LONGEST_JPEG, 366),
        _pillow("JPEG", "RGB", 366, LONGEST_JPEG),
        _declared_png(2**31 - 1, 1),
        _declared_png(1, 2**31 - 1),
        _declared_png(2**31 - 1, 2**31 - 1),
        _declared_png(MOST_PIXELS, 1),
        _webp_canvas(1 << 24, 1),
        _webp_canvas(1, 1 << 24),
        _webp_canvas(1 << 16, 1 << 15),
        _bmp(MOST_PIXELS, 1),
        _bmp(1, -(2**31 - 1)),
    ]
    yield from _cases(kinds, material, rng)


def png(width: int, height: int, bits: int, colour: int) -> bytes:
    """A PNG whose pixels are all alike: some KB whatever its size."""
    row = bytes(1 + -(-width * bits * CHANNELS[colour] // 8))
    packer = zlib.compressobj(9 if len(row) * height < 1 << 22 else 1)
    data = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    return _png_file(_header(width, height, bits, colour), *_palette(colour), (b"IDAT", data), (b"IEND", b""))


def _png(width: int, height: int, bits: int, colour: int) -> Picture:
    name = f"PNG {width} x {height}, {bits} bits, colour type {colour}"
    return name, lambda: png(width, height, bits, colour)


def _declared_png(width: int, height: int) -> Picture:
    def make() -> bytes:
        return _png_file(_header(width, height, 8, RGB), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b""))

    return f"PNG that declares {width} x {height}", make


def _pillow(kind: str, mode: str, width: int, height: int, orientation: int = 1, **options: bool) -> Picture:
    def make() -> bytes:
        file = io.BytesIO()
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.new(mode, (width, height)).save(file, kind, exif=exif, **options)
        return file.getvalue()

    return f"{kind} {width} x {height}, {mode}, orientation {orientation} {options or ''}", make


def _tight(portrait: bytes, share: float) -> Picture:
    """The face of obama.jpg cut to a share of its box and enlarged: its box has many times the picture's pixels."""

    def make() -> bytes:
        x, y, half = 496, 253, 142 * share  # where the detector draws the box: its centre, and half its side
        with Image.open(io.BytesIO(portrait)) as image:
            cut = image.convert("RGB").resize((4898, 4898), box=(x - half, y - half, x + half, y + half))
        file = io.BytesIO()
        cut.save(file, "JPEG")
        return file.getvalue()

    return f"JPEG 4898 x 4898, face cut to {share} of its box", make


def _animated(kind: str, width: int, height: int) -> Picture:
    def make() -> bytes:
        file = io.BytesIO()
        pictures = [Image.new("RGB", (width, height), (shade, 0, 0)) for shade in range(8)]
        pictures[0].save(file, kind, save_all=True, append_images=pictures[1:])
        return file.getvalue()

    return f"animated {kind} {width} x {height}", make


def _webp_canvas(width: int, height: int) -> Picture:
    """An animation of one frame of one pixel on a canvas that is only declared."""

    def make() -> bytes:
        file = io.BytesIO()
        Image.new("RGB", (1, 1)).save(file, "WEBP", lossless=True)
        frame = file.getvalue()[12:]
        place = _u24(0) * 2 + _u24(0) * 2 + _u24(100) + b"\x00"
        chunks = _riff(b"VP8X", b"\x02\0\0\0" + _u24(width - 1) + _u24(height - 1))
        chunks += _riff(b"ANIM", bytes(6)) + _riff(b"ANMF", place + frame)
        return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WEBP" + chunks

    return f"WEBP canvas {width} x {height}", make


def _bmp(width: int, height: int) -> Picture:
    def make() -> bytes:
        pixels = bytes(min(1 << 20, -(-width * 3 // 4) * 4 * abs(height)))
        info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, len(pixels), 0, 0, 0, 0)
        return b"BM" + struct.pack("<IHHI", 54 + len(pixels), 0, 0, 54) + info + pixels

    return f"BMP {width} x {height}", make


def _cases(kinds: list[Picture], material: Material, rng: random.Random) -> Iterator[Case]:
    for name, make in endless(kinds, rng):
        call = rng.choice(("embed", "identify"))
        yield Case(name, (form(f"/v1/{call}", {"model": "face", "file": make()}, material.authorization),))


def _header(width: int, height: int, bits: int, colour: int) -> tuple[bytes, bytes]:
    return b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)


def _palette(colour: int) -> list[tuple[bytes, bytes]]:
    return [(b"PLTE", bytes(range(6))), (b"tRNS", b"\x80\x40")] if colour == PALETTE else []


def _png_file(*chunks: tuple[bytes, bytes]) -> bytes:
    file = b"\x89PNG\r\n\x1a\n"
    for kind, data in chunks:
        file += struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return file


def _riff(kind: bytes, data: bytes) -> bytes:
    return kind + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)


def _u24(number: int) -> bytes:
    return struct.pack("<I", number)[:3]
