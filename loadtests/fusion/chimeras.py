"""People put together from speakers and faces, and how often each mixture of right and wrong is accepted."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from loadtests.scoring import Comparison, Counted, joined

MOST_SAMPLES = 8  # of one person and kind: most have two pictures, one has fifty-two
RESAMPLES = 1_000
CASES = ("own person", "right face, wrong voice", "right voice, wrong face", "both wrong")

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Rule:
    """What is accepted: weights . similarities >= least, and each similarity >= its floor.

    Attributes:
        weights: of the voice's similarity and of the face's.
        least: of the weighted sum.
        floors: of each similarity; -1 where there is none.
    """

    weights: tuple[float, float]
    least: float
    floors: tuple[float, float]

    def accepts(self, voice: Floats, face: Floats) -> npt.NDArray[np.bool_]:
        """Whether similarities, broadcast against each other, are accepted."""
        summed = self.weights[0] * voice + self.weights[1] * face >= self.least
        accepted: npt.NDArray[np.bool_] = summed & (voice >= self.floors[0]) & (face >= self.floors[1])
        return accepted


@dataclass(frozen=True)
class Pairing:
    """One deal of speakers to faces, by their numbers.

    Attributes:
        enrolled: (people, 2), speaker and face of each.
        impostors: (people, 2), another deal of everybody, for those who bring both of a wrong person.
    """

    enrolled: Counts
    impostors: Counts


@dataclass(frozen=True)
class Tally:
    """Attempts and acceptances of one pairing.

    Attributes:
        pairing: who was put together.
        tried: case -> (enrolled, others): attempts by each other speaker, face or impostor; one column of one's own.
        accepted: rule -> case -> as tried.
    """

    pairing: Pairing
    tried: dict[str, Counts]
    accepted: dict[str, dict[str, Counts]]


@dataclass(frozen=True)
class Share:
    """Accepted of tried, and the 95 % interval of their share, resampled by speaker and by face."""

    accepted: int
    tried: int
    value: float
    low: float
    high: float


def deal(counts: tuple[Sequence[int], Sequence[int]], templates: int, generator: np.random.Generator) -> Pairing:
    """Pair speakers and faces that have more samples than templates, one to one; and everybody once more.

    Args:
        counts: samples of each speaker and of each face.
        templates: samples in each reference.
        generator: of random numbers.
    """
    able = [np.flatnonzero(np.asarray(kind) > templates) for kind in counts]
    everybody = [np.arange(len(kind)) for kind in counts]
    return Pairing(_one_to_one(able, generator), _one_to_one(everybody, generator))


def tally(
    voices: Sequence[Counted],
    faces: Sequence[Counted],
    comparisons: tuple[Comparison, Comparison],
    pairing: Pairing,
    templates: int,
    rules: dict[str, Rule],
    generator: np.random.Generator,
) -> Tally:
    """Hold every probe and every mixture of wrong ones against everybody who is enrolled.

    Args:
        voices: embeddings of each speaker, (samples, dim), unit length.
        faces: embeddings of each face.
        comparisons: of voices and of faces, at full dim.
        pairing: who is put together.
        templates: samples in each reference, drawn at random; the others are probes.
        rules: by name.
        generator: of random numbers.
    """
    every_voice, every_face = _stacked(voices, generator), _stacked(faces, generator)
    both_wrong = _mixed(every_voice[1], every_face[1], pairing.impostors)
    columns = dict(zip(CASES, (1, len(voices), len(faces), len(pairing.impostors)), strict=True))
    tried = {case: np.zeros((len(pairing.enrolled), count), np.int64) for case, count in columns.items()}
    accepted = {name: {case: np.zeros_like(part) for case, part in tried.items()} for name in rules}
    for row, (speaker, face) in enumerate(pairing.enrolled):
        own_voice, wrong_voice = _compared(voices[speaker], every_voice[0], comparisons[0], templates, generator)
        own_face, wrong_face = _compared(faces[face], every_face[0], comparisons[1], templates, generator)
        own_speaker, own_picture = np.zeros(len(own_voice), np.int64), np.zeros(len(own_face), np.int64)
        attempts = (
            _all_pairs((own_voice, own_speaker), (own_face, own_picture), column_of=0),
            _all_pairs((wrong_voice, every_voice[1]), (own_face, own_picture), column_of=0, without=speaker),
            _all_pairs((own_voice, own_speaker), (wrong_face, every_face[1]), column_of=1, without=face),
            both_wrong.against(wrong_voice, wrong_face, speaker, face),
        )
        for case, (voice, picture, column) in zip(CASES, attempts, strict=True):
            tried[case][row] = np.bincount(column, minlength=columns[case])
            for name, rule in rules.items():
                passed = column[rule.accepts(voice, picture)]
                accepted[name][case][row] = np.bincount(passed, minlength=columns[case])
    return Tally(pairing, tried, accepted)


def shares(
    tallies: Sequence[Tally], rule: str, identities: tuple[int, int], generator: np.random.Generator
) -> dict[str, Share]:
    """The share accepted in each case, over all pairings.

    The interval: speakers and faces are drawn again with replacement; an attempt counts as often as all whose samples
    it compares were drawn.

    Args:
        tallies: of several pairings.
        rule: by name.
        identities: how many speakers and faces there are.
        generator: of random numbers.
    """
    drawn = [generator.multinomial(n, np.full(n, 1 / n), size=RESAMPLES).T.astype(np.float64) for n in identities]
    found = {}
    for case in CASES:
        sums = np.zeros((2, RESAMPLES))
        for part in tallies:
            owners = drawn[0][part.pairing.enrolled[:, 0]] * drawn[1][part.pairing.enrolled[:, 1]]
            others = _weights_of_others(case, part.pairing, drawn)
            for place, counts in enumerate((part.accepted[rule][case], part.tried[case])):
                sums[place] += ((counts @ others) * owners).sum(axis=0)
        accepted = sum(int(part.accepted[rule][case].sum()) for part in tallies)
        tried = sum(int(part.tried[case].sum()) for part in tallies)
        low, high = np.quantile(sums[0] / sums[1], [0.025, 0.975])
        found[case] = Share(accepted, tried, accepted / tried, float(low), float(high))
    return found


def _weights_of_others(case: str, pairing: Pairing, drawn: Sequence[Floats]) -> Floats:
    """How often each column of a case was drawn: (others, resamples)."""
    if case == "own person":
        return np.ones((1, RESAMPLES))
    if case == CASES[3]:
        weights: Floats = drawn[0][pairing.impostors[:, 0]] * drawn[1][pairing.impostors[:, 1]]
        return weights
    return drawn[0] if case == CASES[1] else drawn[1]


def _one_to_one(kinds: Sequence[Counts], generator: np.random.Generator) -> Counts:
    count = min(len(kind) for kind in kinds)
    return np.column_stack([generator.permutation(kind)[:count] for kind in kinds])


def _compared(
    samples: Counted, everybody: Counted, comparison: Comparison, templates: int, generator: np.random.Generator
) -> tuple[Floats, Floats]:
    """Similarities to a reference of samples drawn at random: of the person's others, and of everybody's."""
    order = generator.permutation(len(samples))
    reference, others = samples.of(order[:templates]).reference(), samples.of(order[templates:][:MOST_SAMPLES])
    found = comparison.table(joined([others, everybody]), reference, reference.vectors.shape[1])[:, 0]
    return found[: len(others)], found[len(others) :]


def _stacked(people: Sequence[Counted], generator: np.random.Generator) -> tuple[Counted, Counts]:
    """Everybody's samples, at most MOST_SAMPLES each, and the person of each."""
    kept = [samples.of(generator.permutation(len(samples))[:MOST_SAMPLES]) for samples in people]
    return joined(kept), np.repeat(np.arange(len(kept)), [len(part) for part in kept])


def _all_pairs(
    voice: tuple[Floats, Counts], face: tuple[Floats, Counts], column_of: int, without: int = -1
) -> tuple[Floats, Floats, Counts]:
    """Similarities of every clip with every picture, and the person of the one or the other.

    Args:
        voice: similarities of clips, and the person of each.
        face: of pictures.
        column_of: whose person is the column: 0 the voice's, 1 the face's.
        without: a person who is left out.
    """
    clips, pictures = (part.ravel() for part in np.indices((len(voice[0]), len(face[0]))))
    column = voice[1][clips] if column_of == 0 else face[1][pictures]
    kept = column != without
    return voice[0][clips[kept]], face[0][pictures[kept]], column[kept]


@dataclass(frozen=True)
class _Mixed:
    """Every clip with every picture of each impostor: the number of clip, picture and impostor, and who they are of."""

    clips: Counts
    pictures: Counts
    impostor: Counts
    people: Counts

    def against(self, voice: Floats, face: Floats, speaker: int, own_face: int) -> tuple[Floats, Floats, Counts]:
        """Similarities of those who share neither the speaker nor the face, and the impostor of each."""
        kept = ((self.people != (speaker, own_face)).all(axis=1))[self.impostor]
        return voice[self.clips[kept]], face[self.pictures[kept]], self.impostor[kept]


def _mixed(clip_people: Counts, picture_people: Counts, impostors: Counts) -> _Mixed:
    parts = []
    for number, (speaker, face) in enumerate(impostors):
        pairs = np.meshgrid(np.flatnonzero(clip_people == speaker), np.flatnonzero(picture_people == face))
        parts.append((pairs[0].ravel(), pairs[1].ravel(), np.full(pairs[0].size, number)))
    clips, pictures, impostor = (np.concatenate(column) for column in zip(*parts, strict=True))
    return _Mixed(clips, pictures, impostor, impostors)
