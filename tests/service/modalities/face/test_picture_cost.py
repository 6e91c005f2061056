"""No picture costs a process more than a square one of the allowed pixels may: memory and work, in a real child."""

import json
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pytest
from PIL import Image

from matchka.modalities.face.image import MAX_ASPECT, MIN_SIDE_PX
from matchka.modalities.face.pyramid import RETRY, SETTINGS, DetectorSettings, pyramid_scales, working_image
from tests.factories.checkout import ROOT
from tests.factories.junk_pictures import scrambled
from tests.factories.pictures import encoded, png_chunk

MOST_GROWTH_MIB: Final = 256
MOST_WORK: Final = 4.0  # times the square picture that takes longest; decoding and detection vary with the content
ALLOWED_PX: Final = 25_000_000
SIDE: Final = 5_000  # of a square picture of as many pixels

Make = Callable[[], bytes]


@dataclass(frozen=True)
class Picture:
    """What is sent, and the code it is refused with; None where it is decoded, whoever it shows."""

    make: Make
    refused: str | None = None


def png(width: int, height: int, colour: int, bits: int, channels: int, more: bytes = b"") -> bytes:
    """A PNG of one colour, of a few KB whatever its size, without a picture of that size here."""
    row, deflate = b"\0" + b"\x40" * ((width * bits * channels + 7) // 8), zlib.compressobj(6)
    pixels = b"".join(deflate.compress(row) for _ in range(height)) + deflate.flush()
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + more + png_chunk(b"IDAT", pixels) + png_chunk(b"IEND", b"")


def turned(image: Image.Image, kind: str) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(image, kind, exif=exif)


def flat(mode: str, width: int = SIDE, height: int = SIDE) -> Image.Image:
    return Image.new(mode, (width, height), 90 if mode == "L" else (90,) * len(mode))


def busy(width: int, height: int) -> Image.Image:
    """Noise of several scales: the first network proposes what it can."""
    rng = np.random.default_rng(5)
    coarse = rng.integers(0, 256, (height // 12 + 1, width // 12 + 1, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BILINEAR)


def grainy(width: int, height: int) -> Image.Image:
    """Noise in every pixel: a large file."""
    return Image.merge("RGB", [Image.effect_noise((width, height), 40)] * 3)


def interlaced_png(width: int, height: int) -> bytes:
    """A PNG of 16-bit RGBA in the seven passes of Adam7 (ISO/IEC 15948, 8.2), of one colour."""
    passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    sizes = [(len(range(x, width, dx)), len(range(y, height, dy))) for x, y, dx, dy in passes]
    deflate = zlib.compressobj(6)
    pixels = b"".join(deflate.compress(b"\0" + b"\x40" * 8 * w) for w, h in sizes for _ in range(h)) + deflate.flush()
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 6, 0, 0, 1))
    return b"\x89PNG\r\n\x1a\n" + header + png_chunk(b"IDAT", pixels) + png_chunk(b"IEND", b"")


SQUARES: Final[dict[str, Picture]] = {
    "square jpeg": Picture(lambda: encoded(busy(SIDE, SIDE), "JPEG", quality=90)),
    "square progressive jpeg": Picture(lambda: encoded(busy(SIDE, SIDE), "JPEG", quality=90, progressive=True)),
    "square rgba png": Picture(lambda: png(SIDE, SIDE, 6, 8, 4)),
}
OTHERS: Final[dict[str, Picture]] = {
    "2,000,000 x 1": Picture(lambda: png(2_000_000, 1, 0, 1, 1), "image_too_thin"),
    "24,000,000 x 1": Picture(lambda: png(24_000_000, 1, 0, 1, 1), "image_too_thin"),
    "1 x 2,000,000": Picture(lambda: png(1, 2_000_000, 0, 1, 1), "image_too_thin"),
    "200,000 x 20": Picture(lambda: png(200_000, 20, 0, 1, 1), "image_too_thin"),
    "15 x 15": Picture(lambda: png(15, 15, 2, 8, 3), "no_face"),
    "16 x 320": Picture(lambda: png(16, 320, 2, 8, 3)),
    "4800 x 240": Picture(lambda: encoded(busy(4_800, 240), "PNG")),
    "21900 x 1095": Picture(lambda: encoded(busy(21_900, 1_095), "JPEG")),
    "1095 x 21900": Picture(lambda: turned(busy(21_900, 1_095), "JPEG")),
    "1 bit": Picture(lambda: png(SIDE, SIDE, 0, 1, 1)),
    "16-bit grey": Picture(lambda: png(SIDE, SIDE, 0, 16, 1)),
    "16-bit rgb": Picture(lambda: png(SIDE, SIDE, 2, 16, 3)),
    "16-bit rgba": Picture(lambda: png(SIDE, SIDE, 6, 16, 4)),
    "grey with alpha": Picture(lambda: png(SIDE, SIDE, 4, 8, 2)),
    "rgba, turned": Picture(lambda: turned(flat("RGBA"), "PNG")),
    "palette with transparency": Picture(lambda: encoded(flat("L").convert("P"), "PNG", transparency=90)),
    "cmyk jpeg": Picture(lambda: encoded(flat("CMYK"), "JPEG")),
    "interlaced 16-bit rgba": Picture(lambda: interlaced_png(SIDE, SIDE)),
    "iphone": Picture(lambda: turned(busy(5_712, 4_284), "JPEG")),
    "progressive cmyk": Picture(lambda: encoded(flat("CMYK"), "JPEG", progressive=True)),
    "progressive without subsampling": Picture(lambda: encoded(flat("RGB"), "JPEG", progressive=True, subsampling=0)),
    "progressive without subsampling, of many bytes": Picture(
        lambda: encoded(grainy(SIDE, SIDE), "JPEG", progressive=True, subsampling=0, quality=60)
    ),
    "webp": Picture(lambda: encoded(flat("RGB"), "WEBP", method=0), "image_too_large"),
    "webp, largest": Picture(lambda: encoded(busy(3_850, 3_850), "WEBP", method=0)),
    "webp of a phone": Picture(lambda: encoded(grainy(4_032, 3_024), "WEBP", lossless=True, method=0)),
    "webp with alpha, largest": Picture(lambda: encoded(flat("RGBA", 3_900, 3_900), "WEBP", lossless=True, method=0)),
    "animated webp, largest": Picture(
        lambda: encoded(
            flat("RGBA", 3_900, 3_900),
            "WEBP",
            save_all=True,
            append_images=[Image.new("RGBA", (3_900, 3_900), (1, 2, 3, 4))],
            lossless=True,
            method=0,
        )
    ),
    "palette bmp": Picture(lambda: encoded(flat("L", 4_000, 4_000).convert("P"), "BMP")),
    "bmp that ends after its head": Picture(
        lambda: encoded(flat("RGB", 4_000, 6_000), "BMP")[:2_000], "truncated_file"
    ),
}


def mosaic(faces: list[Image.Image], width: int, height: int, tile_px: int) -> bytes:
    """Faces side by side: what costs the second and the third network most."""
    tiles = [face.resize((tile_px, tile_px), Image.Resampling.BILINEAR, reducing_gap=2.0) for face in faces]
    image = Image.new("RGB", (width, height))
    for number, (x, y) in enumerate((x, y) for y in range(0, height, tile_px) for x in range(0, width, tile_px)):
        image.paste(tiles[number % len(tiles)], (x, y))
    return encoded(image, "JPEG", quality=80)


def tight(path: Path, share: float) -> bytes:
    """The face of obama.jpg cut to a share of the side of its box and enlarged: its box has many times its pixels."""
    with Image.open(path) as image:
        x, y, half = 496, 253, 142 * share  # where the detector draws the box: its centre, and half its side
        cut = image.convert("RGB").crop(tuple(round(v) for v in (x - half, y - half, x + half, y + half)))
    return encoded(cut.resize((SIDE, SIDE), Image.Resampling.BICUBIC), "JPEG", quality=30)


@pytest.fixture(scope="module")
def faces(face_samples: Path) -> list[Image.Image]:
    """Heads cut out of the samples, and the same with their blocks in another order."""
    cut = []
    for path in sorted(face_samples.glob("*/*.jpg")):
        with Image.open(path) as image:
            side = min(image.size) // 2
            left, top = (image.width - side) // 2, image.height // 12
            cut.append(image.convert("RGB").crop((left, top, left + side, top + side)).resize((240, 240)))
    rng = np.random.default_rng(1)
    return [*cut, *(Image.fromarray(scrambled(np.asarray(face), 2, rng)) for face in cut)]


def test_no_picture_takes_more_memory_or_work_than_a_square_one_of_the_allowed_pixels(
    models_dir: Path, face_samples: Path, faces: list[Image.Image], tmp_path: Path
) -> None:
    mosaics = {
        f"faces of {tile} px in {width} x {height}": Picture(
            lambda width=width, height=height, tile=tile: mosaic(faces, width, height, tile)
        )
        for width, height, tile in ((21_900, 1_095, 90), (21_900, 1_095, 160), (1_095, 21_900, 250), (4_800, 240, 24))
    }
    portraits = {
        f"face cut to {share} of its box": Picture(
            lambda share=share: tight(face_samples / "obama" / "obama.jpg", share)
        )
        for share in (1.0, 0.8, 0.6, 0.5)
    }
    pictures = {**SQUARES, **OTHERS, **mosaics, **portraits}
    files = []
    for number, picture in enumerate(pictures.values()):
        files.append(tmp_path / f"{number:02d}")
        files[-1].write_bytes(picture.make())
    command = [sys.executable, "-m", "tests.service.modalities.face.picture_cost", models_dir, "dominant", *files]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    rows = dict(zip(pictures, map(json.loads, done.stdout.splitlines()), strict=True))
    codes = {name: row["code"] for name, row in rows.items() if row["code"] not in (None, "no_face", "poor_face")}
    assert codes == {name: p.refused for name, p in pictures.items() if p.refused not in (None, "no_face")}
    for measure in ("growth_mib", "kept_mib"):
        assert {name: row[measure] for name, row in rows.items() if row[measure] > MOST_GROWTH_MIB} == {}
    square_s = max(rows[name]["cpu_s"] for name in SQUARES)
    assert {name: row["cpu_s"] for name, row in rows.items() if row["cpu_s"] > MOST_WORK * square_s} == {}


def allowed_sizes() -> list[tuple[int, int]]:
    """Sides from the shortest up, each with aspects up to the longest."""
    shorts = [MIN_SIDE_PX, 17, 24, 40, 100, 239, 240, 241, 300, 480, 1_000, 1_095, 2_000, 4_898]
    aspects = [1, 1.5, 3, 6, 6.5, 10, MAX_ASPECT]
    sizes = [(short, round(short * aspect)) for short in shorts for aspect in aspects]
    return [size for size in sizes if size[0] * size[1] <= ALLOWED_PX]


@pytest.mark.parametrize("settings", [SETTINGS, RETRY], ids=["usual", "retry"])
def test_padded_pyramid_of_every_allowed_size_has_at_most_eight_times_the_pixels_of_a_square_ones(
    settings: DetectorSettings,
) -> None:
    def padded_px(width: int, height: int) -> int:
        working = working_image(Image.new("RGB", (width, height)), settings)
        pad = np.ceil(settings.pad_windows * 12)
        sides = [
            [max(max(1, round(side * scale)) + 2 * pad, 12) for side in working.size]
            for scale in pyramid_scales(*working.size, settings)
        ]
        return sum(int(width * height) for width, height in sides)

    square = padded_px(SIDE, SIDE)
    assert max(padded_px(*size) for size in allowed_sizes()) <= 8 * square
    assert max(padded_px(*size[::-1]) for size in allowed_sizes()) <= 8 * square


@pytest.mark.parametrize("size", [(640, 480), (250, 250), (3_000, 2_000), (1_920, 1_080), (1_200, 200), (120, 700)])
def test_pyramid_of_a_picture_up_to_six_times_as_long_as_wide_looks_for_faces_of_a_twelfth(
    size: tuple[int, int],
) -> None:
    smallest = max(20.0, min(size) / 12)
    assert pyramid_scales(*size, SETTINGS)[0] == pytest.approx(12 / smallest)
