"""What is sent: the real samples that `matchka-export samples` fetched, as whole requests built beforehand."""

import io
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import soundfile
from PIL import Image

from loadtests.client.load import Call, form_request

LONGEST_PHRASE_S = 3.6  # what a person says to be verified: the samples' ten clips of one breath
CHIP_QUALITY = 92
FACES = Path(__file__).parents[2] / "sample_faces.json"  # left, top and side of the chip in each pinned picture


@dataclass(frozen=True)
class Workload:
    """One kind of sample.

    Attributes:
        name: `phrase` (clips of one breath), `voice` (of any length), `chip` (aligned faces) or `face` (pictures).
        model: the bundle that embeds them.
        what: for people.
        samples: files, as bytes, and the rows of the graph that each becomes.
        fields: form fields that only our service takes.
    """

    name: str
    model: str
    what: str
    samples: tuple[tuple[bytes, int], ...]
    fields: tuple[tuple[str, str], ...] = ()

    def calls(
        self, path: str = "/v1/embed", own_fields: bool = True, key: str | None = None, **more: str
    ) -> list[Call]:
        """A request for each sample.

        Args:
            path: of the call.
            own_fields: whether to send the fields that only our service takes.
            key: of the caller, where one is needed.
            more: further form fields.
        """
        fields = {"model": self.model, **(dict(self.fields) if own_fields else {}), **more}
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        return [Call(form_request(path, {**fields, "file": data}, headers), rows) for data, rows in self.samples]


def read_workload(name: str, samples: Path, models: Path) -> Workload:
    """The samples of a workload.

    Args:
        name: see Workload.
        samples: folder of `matchka-export samples`.
        models: folder of bundles; a clip's number of windows follows from the manifest.
    """
    made: dict[str, Callable[[Path, Path], Workload]] = {
        "phrase": lambda samples, models: _voice(samples, models, "phrase", LONGEST_PHRASE_S),
        "voice": lambda samples, models: _voice(samples, models, "voice", float("inf")),
        "chip": _chips,
        "face": _pictures,
    }
    if not (samples / "voice").is_dir():
        sys.exit(f"no samples in {samples}; fetch them with `matchka-export samples`")
    return made[name](samples, models)


def _voice(samples: Path, models: Path, name: str, longest_s: float) -> Workload:
    spec = manifest(models, "voice")["input"]
    found, seconds = [], []
    for path in sorted((samples / "voice").glob("*/*.wav")):
        info = soundfile.info(path)
        if info.duration <= longest_s:
            useful = spec["window_samples"] - 2 * spec["context_samples"]
            length = info.duration * spec["sample_rate_hz"]
            found.append((path.read_bytes(), 1 + max(0, -int(-(length - useful) // spec["hop_samples"]))))
            seconds.append(info.duration)
    what = f"{len(found)} clips of {min(seconds):.0f} to {max(seconds):.0f} s"
    return Workload(name, "voice", what, tuple(found))


def _chips(samples: Path, models: Path) -> Workload:
    side = manifest(models, "face")["input"]["chip_px"]
    found = []
    places = json.loads(FACES.read_text(encoding="utf-8"))
    for path in sorted((samples / "face").glob("*/*.jpg")):
        (left, top, width), coded = places[path.name], io.BytesIO()
        face = Image.open(path).convert("RGB").crop((left, top, left + width, top + width))
        face.resize((side, side)).save(coded, "JPEG", quality=CHIP_QUALITY)
        found.append((coded.getvalue(), 1))
    # a chip needs no search for its face: what is compared is the graph and what is around it
    return Workload("chip", "face", f"{side} px chips of faces", tuple(found), (("face", "aligned"),))


def _pictures(samples: Path, _models: Path) -> Workload:
    found = tuple((path.read_bytes(), 1) for path in sorted((samples / "face").glob("*/*.jpg")))
    return Workload("face", "face", "photographs of 0.8 to 3.3 megapixels", found)


def manifest(models: Path, name: str) -> dict[str, Any]:
    """A bundle's manifest."""
    content: dict[str, Any] = json.loads((models / name / "manifest.json").read_text(encoding="utf-8"))
    return content
