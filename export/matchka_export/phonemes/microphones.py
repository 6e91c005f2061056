"""Clips of other people, rooms and microphones than any data set has, with what they say: the public samples."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from matchka.modalities.audio.decoding import AudioLimits, read_clip
from matchka.modalities.audio.level import level_gain
from matchka.modalities.audio.spec import AudioInputSpec
from matchka.phrases.lexicon import Lexicon
from matchka.phrases.scores import phrase_scores
from matchka.vectors import FloatArray
from matchka_export.errors import EvidenceError
from matchka_export.phonemes.evidence import OtherMicrophones

WRONG_TEXTS: Final = 40
LIMITS: Final = AudioLimits(max_duration_s=60.0, min_speech_s=0.2)
# person/clip -> what is said, from the transcripts of the archive that the clips come from
SAID: Final = {
    "cards/001": "ten of clubs",
    "cards/002": "four queen of clubs",
    "cards/003": "seven of clubs",
    "cards/004": "five five",
    "cards/005": "eight of spades four of clubs seven of hearts",
    "goforward/goforward": "go forward ten meters",
    "librivox/0870": (
        "and mister john dashwood had then leisure to consider how much there might be prudently in his power to do "
        "for them"
    ),
    "librivox/0880": "he was not an ill disposed young man",
    "librivox/0890": "unless to be rather cold hearted and rather selfish is to be ill disposed",
    "librivox/0920": "had he married a more amiable woman he might have been made still more respectable than he was",
    "librivox/0930": "he might even have been made amiable himself",
}


def try_other_microphones(
    posteriors: Callable[[FloatArray], FloatArray],
    spec: AudioInputSpec,
    folder: Path,
    lexicon: Lexicon,
    vocabulary: Sequence[str],
    seed: int,
) -> OtherMicrophones:
    """Hold each clip against what it says and as many words of the vocabulary, 40 times.

    Args:
        posteriors: clips, (1, samples) -> log-posteriors, (frames, 1 + phones).
        spec: how a clip is read.
        folder: of recordings, as `matchka-export samples` writes it.
        lexicon: how words are said.
        vocabulary: words of challenges.
        seed: the same seed draws the same wrong texts.

    Raises: EvidenceError: the clips are not there.
    """
    files = {name: folder / f"{name}.wav" for name in SAID}
    absent = [name for name, path in files.items() if not path.is_file()]
    if absent:
        raise EvidenceError(
            f"There are no recordings of other microphones in {folder}.",
            value=", ".join(absent),
            remedy="Run `matchka-export samples`.",
        )
    generator = np.random.default_rng(seed)
    best = 0
    for name, said in SAID.items():
        words = said.split()
        texts = [words, *(generator.choice(np.array(vocabulary), len(words)).tolist() for _ in range(WRONG_TEXTS))]
        clip = read_clip(files[name].read_bytes(), spec.sample_rate_hz, LIMITS)
        found = posteriors((clip * level_gain(clip, spec.level_dbfs))[None])
        scores = phrase_scores(found, [lexicon.pronunciations(text) for text in texts])
        best += bool(scores[0] > scores[1:].max())
    return OtherMicrophones(clips=len(SAID), best=best, wrong_texts=WRONG_TEXTS)
