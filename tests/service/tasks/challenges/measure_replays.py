"""What gets through a spoken challenge: replays of something else, and clips with the person beside or under them.

The served voices decide on the person over HTTP, the model that hears phones on the phrase, both at their own
thresholds. People are those of the development split; their clips of four words and more, in order of their paths.

    python -m tests.service.tasks.challenges.measure_replays --data FOLDER
"""

import argparse
import csv
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from matchka.bundles.bundle import read_bundle
from matchka.bundles.outputs.phoneme_posteriors import PhonemePosteriorsOutput
from matchka.client import Client
from matchka.errors import MatchkaError, RequestFailedError, UnknownWordsError
from matchka.inference.model import open_model
from matchka.modalities.audio.decoding import AudioLimits, read_clip
from matchka.settings import read_settings
from matchka.tasks.speech.phrase import LEAST_DIFFERENT, decide_phrase
from matchka.tasks.speech.recogniser import Recogniser, recogniser_of
from tests.factories.samples import RATE_HZ, encoded
from tests.factories.small_server import serving

Sound = NDArray[np.float32]
Words = list[str]
Splice = Callable[[Sound, Sound], Sound]

ENROLLED, JUDGED = 3, 8  # clips of a person
WRONG_TEXTS: Final = 10  # that each clip is held against
OTHERS: Final = 2  # people who say the phrase in place of each
MAX_FMR: Final = 1e-3
FARS: Final = (1e-2, 1e-3)
LEVEL: Final = 0.05  # RMS
LIMITS: Final = AudioLimits(max_duration_s=60.0, min_speech_s=0.1)
NO_WAIT: Final = 10**6  # failed tries are what is measured
ANY_SHARE: Final = 1e9


@dataclass(frozen=True)
class Sentence:
    """A clip of a person, and what it says."""

    speaker: str
    samples: Sound
    words: Words


def levelled(samples: Sound, level_db: float = 0.0) -> Sound:
    """As loud as all others, or by so many dB louder."""
    level = LEVEL * 10 ** (level_db / 20)
    return (level * samples / (np.sqrt(np.mean(samples**2)) + 1e-9)).astype(np.float32)


def beside(phrase: Sound, person: Sound, seconds: float, behind: bool) -> Sound:
    """The phrase, and so many seconds of the person before or behind it; a shorter clip is repeated."""
    added = np.resize(levelled(person), round(seconds * RATE_HZ))
    parts = [levelled(phrase), added] if behind else [added, levelled(phrase)]
    return np.concatenate(parts)


def under(phrase: Sound, person: Sound, level_db: float) -> Sound:
    """The phrase with the person under it, by so many dB louder; a shorter clip is repeated."""
    return levelled(phrase) + np.resize(levelled(person, level_db), phrase.size)


def splices(behind: bool) -> dict[str, Splice]:
    """What is measured, by its name."""
    lengths = {f"{seconds} s beside": partial(beside, seconds=seconds, behind=behind) for seconds in (1, 2, 3)}
    levels = {f"under it, {level_db} dB": partial(under, level_db=level_db) for level_db in (0, -5, -10)}
    return {"nothing": lambda phrase, _: levelled(phrase), **lengths, **levels}


def wrong_texts(words: Words, texts: Sequence[Words], rng: np.random.Generator) -> list[Words]:
    """Ten texts of as many words, at least four of which the clip's own does not have."""
    fitting = [text for text in texts if len(text) == len(words) and len({*text} - {*words}) >= LEAST_DIFFERENT]
    return [fitting[n] for n in rng.permutation(len(fitting))[:WRONG_TEXTS]]


def is_known(recogniser: Recogniser, words: Words) -> bool:
    """Whether the lexicon has all words; of others no phrase is made."""
    try:
        recogniser.text(words)
    except UnknownWordsError:
        return False
    return True


def read_people(folder: Path, recogniser: Recogniser) -> dict[str, list[Sentence]]:
    """Development clips of four known words and more, as many of each person as are used."""
    found: dict[str, list[Sentence]] = {}
    with (folder / "speech" / "utterances.csv").open(encoding="utf-8") as file:
        for row in sorted(csv.DictReader(file), key=lambda row: row["path"]):
            words, clips = row["text"].lower().split(), found.setdefault(row["speaker"], [])
            is_used = row["split"] == "dev" and len(words) >= LEAST_DIFFERENT and len(clips) < ENROLLED + JUDGED
            if is_used and is_known(recogniser, words):
                samples = read_clip((folder / "speech" / row["path"]).read_bytes(), RATE_HZ, LIMITS)
                clips.append(Sentence(row["speaker"], samples, words))
    return {speaker: clips for speaker, clips in found.items() if clips}


def is_phrase(
    recogniser: Recogniser, sample: Sound, texts: Sequence[Words], output: PhonemePosteriorsOutput, far: float
) -> list[bool]:
    """Whether a clip passes as each of some texts; what the service refuses does not pass."""
    try:
        rows = recogniser.read(encoded(sample))
        recogniser.require_undistorted(rows)
    except MatchkaError:
        return [False] * len(texts)
    heard, found = recogniser.log_posteriors(rows), []
    for words in texts:
        try:
            text = recogniser.text(words)
            recogniser.require_duration(rows, text)
            found.append(decide_phrase(heard, text, output, far).match)
        except MatchkaError:
            found.append(False)
    return found


def enrolled(client: Client, people: dict[str, list[Sentence]]) -> Iterator[str]:
    """Enrol the first clips of each person, and name those of whom they were taken."""
    for speaker, clips in people.items():
        try:
            client.enroll(speaker, [encoded(levelled(clip.samples)) for clip in clips[:ENROLLED]])
        except RequestFailedError as error:
            sys.stderr.write(f"{speaker} is left out: {error.code}\n")
        else:
            yield speaker


def is_person(client: Client, speaker: str, sample: Sound) -> bool:
    """Whether the voices' model says so; a clip that is refused is not."""
    try:
        return client.verify(speaker, encoded(sample), max_fmr=MAX_FMR).match
    except RequestFailedError:
        return False


def measure_replays(client: Client, recogniser: Recogniser, people: dict[str, list[Sentence]]) -> None:
    """Print how many right clips are rejected, and how many replays accepted."""
    rng = np.random.default_rng(0)
    clips = [clip for own in people.values() for clip in own[ENROLLED:]]
    texts = [list(text) for text in sorted({tuple(clip.words) for clip in clips})]
    persons = [is_person(client, clip.speaker, levelled(clip.samples)) for clip in clips]
    sys.stdout.write(f"{len(people)} people, {len(clips)} clips\n")
    sys.stdout.write(f"speaker alone: rejected {100 * (1 - np.mean(persons)):.1f} %\n")
    wrong = [wrong_texts(clip.words, texts, rng) for clip in clips]
    for far in FARS:
        rejected, accepted = [], []
        for clip, person, others in zip(clips, persons, wrong, strict=True):
            found = is_phrase(recogniser, levelled(clip.samples), [clip.words, *others], recogniser.output, far)
            rejected.append(not (person and found[0]))
            accepted += [person and passes for passes in found[1:]]
        shown = f"rejected {100 * np.mean(rejected):.1f} %, replays accepted {100 * np.mean(accepted):.2f} %"
        sys.stdout.write(f"and the phrase at {far:g}: {shown} of {len(accepted):,}\n")


def measure_splices(client: Client, recogniser: Recogniser, people: dict[str, list[Sentence]]) -> None:
    """Print what others get through with who say the phrase, with the person beside or under it."""
    output = recogniser.output
    assert output.heard is not None
    lenient = output.model_copy(update={"heard": output.heard.model_copy(update={"most_share": ANY_SHARE})})
    speakers = sorted(people)
    pairs = [(number, ahead) for number in range(len(speakers)) for ahead in range(1, OTHERS + 1)]
    sys.stdout.write(f"\n{len(pairs)} pairs; by the voice; and the phrase: before, now at 1e-2; now at 1e-3; in %\n")
    for name in splices(behind=False):
        counts = np.zeros(4)
        for number, ahead in pairs:
            person, other = speakers[number], people[speakers[(number + ahead) % len(speakers)]]
            said, recorded = other[ENROLLED + ahead], people[person][ENROLLED + ahead]
            sample = splices(behind=ahead % 2 == 0)[name](said.samples, recorded.samples)
            is_voice = is_person(client, person, sample)
            rules = ((lenient, FARS[0]), (output, FARS[0]), (output, FARS[1]))
            passes = [is_phrase(recogniser, sample, [said.words], *rule)[0] for rule in rules] if is_voice else [False]
            counts += [is_voice, *(passes if is_voice else [False] * len(rules))]
        sys.stdout.write(f"{name:20s} {' '.join(f'{share:6.1f}' for share in 100 * counts / len(pairs))}\n")


def main() -> None:
    """Measure both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of real data: docs/data.md")
    parser.add_argument("--models", type=Path, default=Path("models"))
    arguments = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        closing(open_model(read_bundle(arguments.models / "phonemes"), read_settings({}))) as hearing,
        serving(
            read_settings(
                {},
                models_dir=arguments.models,
                models=("voice",),
                data_dir=Path(folder),
                failed_tries_per_hour=NO_WAIT,
            )
        ) as server,
    ):
        client, recogniser = server.client(), recogniser_of(hearing)
        people = read_people(arguments.data, recogniser)
        kept = {speaker: people[speaker] for speaker in enrolled(client, people)}
        measure_replays(client, recogniser, kept)
        measure_splices(client, recogniser, kept)


if __name__ == "__main__":
    main()
