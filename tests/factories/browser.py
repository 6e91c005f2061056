"""A real browser, Debian's Chromium, whose microphone and camera are files."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias
from urllib.parse import urlsplit

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps
from playwright.sync_api import Browser, BrowserContext, Page, Playwright

NAMES: Final = ("chromium", "chromium-browser", "google-chrome")
WAIT_MS: Final = 60_000
FRAMES: Final = 5
FAR: Final = "matchka.test"  # a name of this machine that Chromium takes for another one's
NOT_ERRORS: Final = (
    "Failed to load resource",  # how Chromium tells of a refusal, which the page shows by itself
    "The Cross-Origin-Opener-Policy header has been ignored",  # over plain http
)


@dataclass
class Opened:
    """A page, and all that it asked for and complained of."""

    page: Page
    hosts: set[str] = field(default_factory=set)
    complaints: list[str] = field(default_factory=list)


OpenPage: TypeAlias = Callable[..., Opened]


@contextmanager
def chromium(
    program: Playwright, *, voice: Path | None = None, face: Path | None = None, allowed: bool = True
) -> Iterator[Browser]:
    """Start one.

    Args:
        program: what drives it; a thread has one.
        voice: WAV file that its microphone hears, again and again.
        face: Y4M file that its camera sees.
        allowed: whether pages get both without asking; nobody is there to be asked.
    """
    path = next((found for name in NAMES if (found := shutil.which(name))), None)
    if path is None:
        pytest.skip("there is no Chromium: apt install chromium")
    arguments = ["--no-sandbox", "--use-fake-device-for-media-stream", f"--host-resolver-rules=MAP {FAR} 127.0.0.1"]
    arguments += ["--use-fake-ui-for-media-stream"] if allowed else []
    arguments += [f"--use-file-for-fake-audio-capture={voice}"] if voice else []
    arguments += [f"--use-file-for-fake-video-capture={face}"] if face else []
    browser = program.chromium.launch(executable_path=path, args=arguments)
    try:
        yield browser
    finally:
        browser.close()


REMEMBER_SENT: Final = """
    const plain = window.fetch;
    window.fetch = (address, options) => {
      if (options?.body) window.sent = options.body;
      return plain(address, options);
    };
"""
SENT_FILE: Final = """
    async () => Array.from(new Uint8Array(await new Response(window.sent.get("file")).arrayBuffer()))
"""


def sent_file(page: Page) -> bytes:
    """The file that the page sent last: Chromium shows no driver the files within a request."""
    return bytes(page.evaluate(SENT_FILE))


@contextmanager
def opened(context: BrowserContext, url: str) -> Iterator[Opened]:
    """A page of the service, which must ask no other host and complain of nothing."""
    found = Opened(context.new_page())
    found.page.add_init_script(REMEMBER_SENT)
    found.page.set_default_timeout(WAIT_MS)
    found.page.on("request", lambda request: found.hosts.add(urlsplit(request.url).netloc))
    found.page.on("pageerror", lambda error: found.complaints.append(str(error)))
    found.page.on(
        "console", lambda said: found.complaints.append(said.text) if said.type in ("error", "warning") else None
    )
    found.page.goto(url)
    yield found
    found.page.close()
    assert found.hosts - {""} == {urlsplit(url).netloc}  # a blob: has none
    assert [text for text in found.complaints if not text.startswith(NOT_ERRORS)] == []


def write_y4m(path: Path, pictures: list[Path], size: tuple[int, int] = (640, 480)) -> Path:
    """A video of still pictures side by side, for a camera to see: YUV 4:2:0, a few frames."""
    width, height = size
    whole = Image.new("RGB", size, "grey")
    for number, picture in enumerate(pictures):
        each = width // len(pictures)
        shown = ImageOps.contain(Image.open(picture).convert("RGB"), (each, height))
        whole.paste(shown, (number * each + (each - shown.width) // 2, (height - shown.height) // 2))
    planes = np.asarray(whole.convert("YCbCr"))
    frame = b"FRAME\n" + planes[:, :, 0].tobytes() + _halved(planes[:, :, 1]) + _halved(planes[:, :, 2])
    path.write_bytes(f"YUV4MPEG2 W{width} H{height} F10:1 Ip A1:1 C420jpeg\n".encode() + FRAMES * frame)
    return path


def _halved(plane: NDArray[np.uint8]) -> bytes:
    height, width = plane.shape
    return plane.reshape(height // 2, 2, width // 2, 2).mean(axis=(1, 3)).round().astype(np.uint8).tobytes()
