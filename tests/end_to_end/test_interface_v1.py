"""HTTP v1 answers as it did when it was recorded, and a data folder of that day is taken over whole.

The recording is of the program before its packages were renamed; face.json, of the default models, is of those that are
shipped now. `python -m tests.end_to_end.test_interface_v1 FOLDER`
records anew: only where version 1 changes on purpose, which the changelog then says.
"""

import contextlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import requests

from tests.end_to_end.interface_v1.calls import FACE, VOICE, Recorder, differences
from tests.factories.bundles import write_bundle
from tests.factories.checkout import ROOT
from tests.factories.samples import encoded, sample, voice
from tests.factories.server_process import RunningServer, start, stop

RECORDING = Path(__file__).parent / "interface_v1"
SMALL_TOLERANCE = 1e-6  # of a graph of two matrix products
# Of real networks, whose sums another kind of processor adds up in another order, and whose detector's boxes are
# refined twice over. Between two kinds of CPU: 6.4e-5 of an embedding's component, 2.9e-5 of a cosine,
# 1.8e-4 of a quality, .013 px of a landmark, .0025 degrees, .0005 grey levels.
DEFAULT_TOLERANCE = 5e-4
DEFAULT_TOLERANCES = {
    **dict.fromkeys(("box", "landmarks", "eye_distance_px", "native_px"), 0.05),
    "roll_deg": 0.02,
    "contrast": 0.005,
}
PEOPLE = {"ada": 1, "ben": 2, "eve": 3}
OPERATIONS = ("get", "post", "delete", "put", "patch")


def made_up_samples() -> dict[str, bytes]:
    takes = {f"{name} {take}": sample(number, take) for name, number in PEOPLE.items() for take in range(5)}
    return takes | {
        "text": b"this is no audio " * 100,
        "empty": b"",
        "silence": encoded(np.zeros(16000)),
        "too short": encoded(voice(1)[:1600], subtype="FLOAT"),
        "cut short": sample(1)[:-2000],
    }


def real_samples(voices: Path) -> dict[str, bytes]:
    librivox, cards = (sorted((voices / name).glob("*.wav")) for name in ("librivox", "cards"))
    faces = {path.stem: path.read_bytes() for path in (voices.parent / "face").glob("*/*.jpg")}
    spoken = {f"voice {n}": path.read_bytes() for n, path in enumerate(librivox)}
    others = {f"other voice {n}": path.read_bytes() for n, path in enumerate(cards)}
    return faces | spoken | others | {"grey": grey_picture()}


def grey_picture() -> bytes:
    """A binary bitmap of 64 x 64 grey pixels, written by hand."""
    size = 54 + 64 * 64 * 3
    head = b"BM" + size.to_bytes(4, "little") + bytes(4) + (54).to_bytes(4, "little") + (40).to_bytes(4, "little")
    head += (64).to_bytes(4, "little") * 2 + (1).to_bytes(2, "little") + (24).to_bytes(2, "little") + bytes(24)
    return head + b"\x80" * (64 * 64 * 3)


@contextlib.contextmanager
def small_server(folder: Path, data_dir: Path) -> Iterator[RunningServer]:
    """A server of the made-up voice model; its start-up is waited for."""
    if not (folder / "models").is_dir():
        write_bundle(folder / "models" / "voice")
    running = start(folder / "models", data_dir)
    try:
        yield running
    finally:
        assert stop(running.process) == 0


def recorded(name: str) -> Any:
    return json.loads((RECORDING / name).read_text(encoding="utf-8"))


def test_every_route_with_a_small_model_answers_as_recorded(tmp_path: Path):
    with small_server(tmp_path, tmp_path / "data") as server:
        answers = dict(Recorder(server.url, made_up_samples()).answers(VOICE))
    assert set(recorded("voice.json")) == set(answers)
    assert differences(recorded("voice.json"), answers, SMALL_TOLERANCE) == []


def test_default_models_answer_as_recorded(models_dir: Path, voice_samples: Path, tmp_path: Path):
    running = start(models_dir, tmp_path / "data")
    try:
        answers = dict(Recorder(running.url, real_samples(voice_samples)).answers(FACE))
    finally:
        stop(running.process)
    assert differences(recorded("face.json"), answers, DEFAULT_TOLERANCE, DEFAULT_TOLERANCES) == []


def test_openapi_document_keeps_all_that_was_recorded(tmp_path: Path):
    with small_server(tmp_path, tmp_path / "data") as server:
        found = requests.get(f"{server.url}/openapi.json", timeout=60).json()
    kept = interface_of(found)
    lost = {name: sorted(set(entries) - set(kept.get(name, []))) for name, entries in recorded("openapi.json").items()}
    assert {name: entries for name, entries in lost.items() if entries} == {}


def interface_of(document: dict[str, Any]) -> dict[str, list[str]]:
    """What callers rely on: of each operation its parameters, the fields it takes, its statuses and what they hold."""
    interface = {}
    for path, operations in document["paths"].items():
        for method in OPERATIONS:
            if method not in operations:
                continue
            operation = operations[method]
            entries = [f"{p['in']} {p['name']}" for p in operation.get("parameters", [])]
            for kind, content in operation.get("requestBody", {}).get("content", {}).items():
                entries += [f"takes {kind} {name}" for name in properties_of(content["schema"], document)]
            for status, response in operation["responses"].items():
                entries.append(f"answers {status}")
                for kind, content in response.get("content", {}).items():
                    named = properties_of(content.get("schema", {}), document)
                    entries += [f"answers {status} {kind} {name}" for name in named]
            interface[f"{method.upper()} {path}"] = sorted(set(entries))
    return interface


def properties_of(schema: dict[str, Any], document: dict[str, Any]) -> list[str]:
    """The names of an object's properties, with those of every alternative."""
    if "$ref" in schema:
        named = document
        for part in schema["$ref"].removeprefix("#/").split("/"):
            named = named[part]
        return properties_of(named, document)
    found = list(schema.get("properties", {}))
    for alternatives in ("anyOf", "oneOf", "allOf"):
        found += [name for entry in schema.get(alternatives, []) for name in properties_of(entry, document)]
    return found


def test_data_folder_of_that_day_is_taken_over_and_nothing_deleted_returns(tmp_path: Path):
    shutil.copytree(RECORDING / "data_folder", tmp_path / "data")
    expected = recorded("data.json")
    with small_server(tmp_path, tmp_path / "data") as server:
        answers = dict(Recorder(server.url, made_up_samples()).answers(looked_up()))
    assert differences(expected, answers, SMALL_TOLERANCE) == []
    checked = subprocess.run(
        [sys.executable, "-m", PROGRAM, "gallery", "verify", "--json"],
        env={"MATCHKA_DATA_DIR": str(tmp_path / "data"), "PATH": "/usr/bin:/bin"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


PROGRAM = "matchka"


def looked_up() -> tuple[Any, ...]:
    """Calls that change nothing: everybody who was enrolled, and ben, who was deleted."""
    names = {
        *("verify ada", "verify ben as ada", "identify ada", "identify a stranger", "subjects", "one subject"),
        *("verify ben, who is gone", "identify ben, who is gone"),
    }
    return tuple(call for call in VOICE if call.name in names)


def record(folder: Path) -> None:
    """Write the recording from a program that runs here; the default models must be in ./models."""
    data = folder / "data_folder"
    shutil.rmtree(data, ignore_errors=True)
    with small_server(folder / "scratch", folder / "scratch" / "data") as server:
        recorder = Recorder(server.url, made_up_samples())
        answers = dict(recorder.answers(VOICE))
        document = requests.get(f"{server.url}/openapi.json", timeout=60).json()
        later = dict(Recorder(server.url, made_up_samples()).answers(looked_up()))
    shutil.copytree(folder / "scratch" / "data", data)
    running = start(ROOT / "models", folder / "scratch" / "default")
    real = dict(Recorder(running.url, real_samples(ROOT / "build" / "samples" / "voice")).answers(FACE))
    stop(running.process)
    shutil.rmtree(folder / "scratch")
    written = {"voice": answers, "openapi": interface_of(document), "data": later, "face": real}
    for name, content in written.items():
        text = json.dumps(content, indent=1, ensure_ascii=False, sort_keys=True)
        (folder / f"{name}.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    record(Path(sys.argv[1]).resolve())
