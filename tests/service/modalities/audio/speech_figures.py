"""How often speech is taken for speech and other sounds are not: the figures of docs/decisions/033.

python -m tests.service.modalities.audio.speech_figures \
        models/voice/speech.onnx ../shared/data/speech build/samples/voice
"""

import csv
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from matchka.errors import NoSpeechError
from matchka.inference.session import open_ort_session
from matchka.modalities.audio.decoding import AudioLimits, read_clip
from matchka.modalities.audio.speech_activity import SAMPLE_RATE_HZ, SpeechDetector
from tests.factories.not_speech import HARD_MAKERS, MAKERS, sounds

LIMITS = AudioLimits(max_duration_s=60.0, min_speech_s=0.1)
MIN_SPEECH_S = 0.5
SNR_DB = (20, 10, 5, 0)
BABBLE_SPEAKERS = 8
SEED = 33


def passes(detector: SpeechDetector, samples: np.ndarray) -> bool:
    try:
        detector.require_speech(samples, MIN_SPEECH_S)
    except NoSpeechError:
        return False
    return True


def with_noise(samples: np.ndarray, snr_db: float, rng: np.random.Generator) -> np.ndarray:
    level = np.sqrt(np.mean(samples**2)) * 10 ** (-snr_db / 20)
    return (samples + level * rng.normal(size=samples.size)).astype(np.float32)


def read_splits(data: Path, own_samples: Path) -> dict[str, list[np.ndarray]]:
    paths: dict[str, list[Path]] = {"train": [], "dev": [], "cohort": [], "samples": sorted(own_samples.rglob("*.wav"))}
    for row in csv.DictReader((data / "utterances.csv").open()):
        paths[row["split"]].append(data / row["path"])
    paths["cohort"] = [data / row["path"] for row in csv.DictReader((data / "cohort.csv").open())]
    return {split: [read_clip(p.read_bytes(), SAMPLE_RATE_HZ, LIMITS) for p in files] for split, files in paths.items()}


def babble(clips: list[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    chosen = [clips[n] for n in rng.choice(len(clips), BABBLE_SPEAKERS, replace=False)]
    length = min(clip.size for clip in chosen)
    mixed = np.sum([clip[:length] / np.sqrt(np.mean(clip**2)) for clip in chosen], axis=0)
    return (0.05 * mixed / np.sqrt(np.mean(mixed**2))).astype(np.float32)


def measured(detector: SpeechDetector, clips: dict[str, list[np.ndarray]], each: int) -> Iterator[tuple[str, int, int]]:
    """What was tried, how often it passed, of how many."""
    rng = np.random.default_rng(SEED)
    for split, samples in clips.items():
        yield f"speech, {split}", sum(passes(detector, clip) for clip in samples), len(samples)
    for snr_db in SNR_DB:
        noisy = [with_noise(clip, snr_db, rng) for clip in clips["dev"]]
        yield f"speech, dev, white noise at {snr_db} dB", sum(passes(detector, clip) for clip in noisy), len(noisy)
    turned = [np.ascontiguousarray(clip[::-1]) for clip in clips["dev"][::4]]
    yield "speech, dev, reversed", sum(passes(detector, clip) for clip in turned), len(turned)
    mixed = [babble(clips["dev"], rng) for _ in range(200)]
    yield f"babble of {BABBLE_SPEAKERS}", sum(passes(detector, clip) for clip in mixed), len(mixed)
    for makers in (MAKERS, HARD_MAKERS):
        for name, make in makers.items():
            found = [passes(detector, sound.samples) for sound in sounds(SEED, each, {name: make})]
            yield name, sum(found), len(found)


def cost(
    look: Callable[[SpeechDetector, np.ndarray], object], detector: SpeechDetector, clips: list[np.ndarray]
) -> tuple[float, float]:
    """Median milliseconds of CPU time of a look at a clip, and all of it for each second of audio."""
    taken_ms = []
    for clip in clips:
        began = time.thread_time()  # the one thread that the graph runs on: others on this machine do not count
        look(detector, clip)
        taken_ms.append(1e3 * (time.thread_time() - began))
    return float(np.median(taken_ms)), sum(taken_ms) / sum(clip.size for clip in clips) * SAMPLE_RATE_HZ


def main(
    graph: Path, data: Path, own_samples: Path, each: Annotated[int, typer.Option(help="Sounds of each kind.")] = 60
) -> None:
    """Print the table, and what the look at a clip costs on one thread."""
    detector = SpeechDetector(open_ort_session(graph, threads=1))
    clips = read_splits(data, own_samples)
    table = Table("sound", "passes", "of", "%")
    for what, passed, count in measured(detector, clips, each):
        table.add_row(what, str(passed), str(count), f"{100 * passed / count:.2f}")
    console = Console()
    console.print(table)
    for what, look in (("until there is enough", passes), ("to the end", lambda d, clip: d.probabilities(clip))):
        clip_ms, second_ms = cost(look, detector, clips["dev"])
        console.print(f"{what}: {clip_ms:.2f} ms a clip of dev, {second_ms:.2f} ms a second of audio")


if __name__ == "__main__":
    typer.run(main)
