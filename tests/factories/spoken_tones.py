"""A bundle of phonemes whose clips are tones: a small real graph hears which phone is said, frame by frame."""

import hashlib
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.factories.bundles import VERSION, edit_bundle, write_bundle
from tests.factories.samples import RATE_HZ

CONSONANTS, VOWELS = ("B", "D", "K", "M", "S", "T"), ("AA", "IY")
PHONES = (*CONSONANTS, *VOWELS)
FRAME_MS = 30
FRAME_SAMPLES = RATE_HZ * FRAME_MS // 1000
SPACING_HZ = 200  # every tone has whole periods in a frame, so that no two are heard for each other
HUM_HZ = 3000
LOUDNESS = 0.3
CERTAINTY = 12.0  # log-odds of a tone's phone, and of blank in silence, beside any other
# FAR and threshold, the same for every number of words: a phrase that is said scores above -0.1
POINTS = ((1e-1, -2.0, True), (1e-2, -1.0, True), (1e-3, -0.5, False))


def words_of() -> dict[str, list[tuple[str, ...]]]:
    """A vocabulary: two syllables of one consonant and one vowel each, alone and with each consonant behind."""
    syllables = list(itertools.product(CONSONANTS, VOWELS))
    two = [first + second for first, second in itertools.product(syllables, repeat=2)]
    three = [(*one, last) for one in two for last in CONSONANTS]
    return {"".join(phones).lower(): [phones] for phones in [*two, *three]}


# beside the vocabulary, for texts that people choose: two pronunciations, and a short word
LEXICON = {**words_of(), "either": [("IY", "D"), ("AA", "D")], "me": [("M", "IY")]}


def tone(phone: str) -> np.ndarray:
    return _sine(SPACING_HZ * (1 + PHONES.index(phone)), LOUDNESS, FRAME_SAMPLES)


def hum(frames: int) -> np.ndarray:
    """What no phone is heard in, though it is loud enough for speech."""
    return _sine(HUM_HZ, LOUDNESS / 3, frames * FRAME_SAMPLES)


def _sine(frequency_hz: float, level: float, samples: int) -> np.ndarray:
    return (level * np.sin(2 * np.pi * frequency_hz * np.arange(samples) / RATE_HZ)).astype(np.float32)


def spoken(words: Sequence[str], frames_per_phone: int = 4, choice: int = 0) -> np.ndarray:
    """A clip of words: each phone's tone in the first of its frames, a hum in the rest."""
    quiet = hum(frames_per_phone - 1)
    said = [phone for word in words for phone in LEXICON[word][min(choice, len(LEXICON[word]) - 1)]]
    return np.concatenate([quiet, *(part for phone in said for part in (tone(phone), quiet))])


def write_tone_graph(path: Path) -> None:
    """Clips -> log-posteriors: the energy of each tone in each frame, and of none."""
    time_s = np.arange(FRAME_SAMPLES) / RATE_HZ
    bank = np.zeros((len(PHONES), 1, FRAME_SAMPLES), np.float32)
    for place in range(len(PHONES)):
        frequency = SPACING_HZ * (1 + place)
        bank[place, 0] = np.sin(2 * np.pi * frequency * time_s) * (2 / FRAME_SAMPLES / LOUDNESS)
    floor = np.array(0.5, np.float32)
    nodes = [
        helper.make_node("Unsqueeze", ["clips", "channel"], ["with_channel"]),
        helper.make_node("Conv", ["with_channel", "bank"], ["shares"], strides=[FRAME_SAMPLES]),  # 1 for its own tone
        helper.make_node("Abs", ["shares"], ["loudness"]),
        helper.make_node("ReduceMax", ["loudness"], ["loudest"], axes=[1], keepdims=1),
        helper.make_node("Sub", ["floor", "loudest"], ["below"]),
        helper.make_node("Relu", ["below"], ["quiet"]),  # half where nothing is heard
        helper.make_node("Add", ["quiet", "quiet"], ["blank"]),
        helper.make_node("Concat", ["blank", "loudness"], ["heard"], axis=1),
        helper.make_node("Mul", ["heard", "certainty"], ["odds"]),
        helper.make_node("Transpose", ["odds"], ["by_frame"], perm=[0, 2, 1]),
        helper.make_node("LogSoftmax", ["by_frame"], ["log_posteriors"], axis=2),
    ]
    constants = {"bank": bank, "floor": floor, "certainty": np.array(CERTAINTY, np.float32)}
    graph = helper.make_graph(
        nodes,
        "tones",
        [helper.make_tensor_value_info("clips", TensorProto.FLOAT, ["batch", "samples"])],
        [helper.make_tensor_value_info("log_posteriors", TensorProto.FLOAT, ["batch", "frames", 1 + len(PHONES)])],
        [
            *(numpy_helper.from_array(values, name) for name, values in constants.items()),
            numpy_helper.from_array(np.array([1], np.int64), "channel"),
        ],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)


def phoneme_output(**changes: object) -> dict[str, Any]:
    """The manifest's entry of the graph's posteriors."""
    points = [{"far": far, "threshold": threshold, "measured": measured} for far, threshold, measured in POINTS]
    measured = {"made-up": {"per": 0.4, "phrase_eer": 0.01, "speakers": 60, "clips": 600}}
    return {
        "kind": "phoneme_posteriors",
        "phones": list(PHONES),
        "frame_period_ms": FRAME_MS,
        "lexicon": "lexicon.txt",
        "vocabulary": "vocabulary.txt",
        "phrase_points": {str(words): points for words in range(4, 11)},
        "metrics": measured,
        "baseline_metrics": measured,
        **changes,
    }


def write_phoneme_bundle(folder: Path, name: str = "phonemes", version: str = VERSION, **changes: object) -> Path:
    """A bundle that checks out, unless `changes` to what is said of its output say otherwise."""
    write_bundle(folder, name, version)
    write_tone_graph(folder / "model.onnx")
    lines = [f"{word} {' '.join(phones)}" for word, ways in LEXICON.items() for phones in ways]
    (folder / "lexicon.txt").write_text("".join(f"{line}\n" for line in lines))
    (folder / "vocabulary.txt").write_text("".join(f"{word}\n" for word in words_of()))
    names = ("model.onnx", "lexicon.txt", "vocabulary.txt")

    def change(manifest: dict[str, Any]) -> None:
        manifest["task"] = "phoneme recognition"
        manifest["input"] |= {"window_samples": None, "hop_samples": None, "context_samples": 0}
        manifest["outputs"] = {"log_posteriors": phoneme_output(**changes)}
        manifest["files"] = {one: hashlib.sha256((folder / one).read_bytes()).hexdigest() for one in names}

    edit_bundle(folder, change)
    return folder
