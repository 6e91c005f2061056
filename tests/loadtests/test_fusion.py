"""Acceptances of people put together are counted as slow loops count them, and resampled by identity."""

import math

import numpy as np
import pytest

from loadtests.fusion.chimeras import CASES, MOST_SAMPLES, Pairing, Rule, Tally, deal, shares, tally
from loadtests.scoring import Cosine, Counted

DIM = 4
OWN, WRONG_VOICE, WRONG_FACE, BOTH_WRONG = CASES
RULE = Rule((2.0, 3.0), 2.5, (0.2, 0.4))
SUM = Rule((2.0, 3.0), 2.5, (-1.0, -1.0))


def people(counts: list[int], seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    made = []
    for count in counts:
        rows = rng.standard_normal(DIM) + 0.7 * rng.standard_normal((count, DIM))
        made.append((rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32))
    return made


def counted(people: list[np.ndarray]) -> list[Counted]:
    return [Counted(rows, np.ones(len(rows))) for rows in people]


def slowly(rule: Rule, voice: float, face: float) -> bool:
    return 2.0 * voice + 3.0 * face >= rule.least and voice >= rule.floors[0] and face >= rule.floors[1]


def test_tally_when_counted_by_loops_agrees():
    """With one template of each and two samples, a person's one probe and templates follow from the counts."""
    voices, faces = people([2, 2, 2], 1), people([2, 2, 2, 2], 2)
    pairing = Pairing(np.array([[0, 1], [2, 3]]), np.array([[0, 0], [1, 1], [2, 2]]))
    found = tally(
        counted(voices),
        counted(faces),
        (Cosine(), Cosine()),
        pairing,
        1,
        {"both": RULE, "sum": SUM},
        np.random.default_rng(3),
    )
    order = np.random.default_rng(3)
    for part in (voices, faces):
        for rows in part:
            order.permutation(len(rows))  # everybody's samples are shuffled first
    for row, (speaker, face) in enumerate(pairing.enrolled):
        (v_ref, v_probe), (f_ref, f_probe) = (part[order.permutation(2)] for part in (voices[speaker], faces[face]))
        cases = {
            OWN: [(0, [v_probe], [f_probe])],
            WRONG_VOICE: [(n, voices[n], [f_probe]) for n in range(3) if n != speaker],
            WRONG_FACE: [(n, [v_probe], faces[n]) for n in range(4) if n != face],
            BOTH_WRONG: [
                (n, voices[v], faces[f]) for n, (v, f) in enumerate(pairing.impostors) if v != speaker and f != face
            ],
        }
        for case, attempts in cases.items():
            for column, clips, pictures in attempts:
                pairs = [(float(v @ v_ref), float(f @ f_ref)) for v in clips for f in pictures]
                assert found.tried[case][row, column] == len(pairs)
                for name, rule in {"both": RULE, "sum": SUM}.items():
                    assert found.accepted[name][case][row, column] == sum(slowly(rule, *pair) for pair in pairs)
            assert found.tried[case][row].sum() == sum(len(clips) * len(pictures) for _, clips, pictures in attempts)
    assert 0 < found.accepted["sum"][WRONG_VOICE].sum() < found.tried[WRONG_VOICE].sum()


def test_tally_of_a_person_with_many_samples_takes_only_some():
    voices, faces = people([30, 30], 1), people([30, 30], 2)
    pairing = Pairing(np.array([[0, 1]]), np.array([[1, 0], [0, 0]]))
    found = tally(
        counted(voices), counted(faces), (Cosine(), Cosine()), pairing, 3, {"sum": SUM}, np.random.default_rng(0)
    )
    for case in CASES:
        assert found.tried[case].sum() == MOST_SAMPLES**2


def test_deal_pairs_only_people_who_have_a_probe_left():
    pairing = deal(([5, 2, 3, 9], [2, 4, 4]), 3, np.random.default_rng(0))
    assert set(pairing.enrolled[:, 0]) == {0, 3}
    assert set(pairing.enrolled[:, 1]) == {1, 2}
    assert len(pairing.impostors) == 3
    assert len(set(pairing.impostors[:, 0])) == len(set(pairing.impostors[:, 1])) == 3


def test_shares_pool_the_pairings_and_their_interval_is_that_of_people_not_of_attempts():
    """Half the speakers always pass: a million attempts of each leave the share as unsure as twenty people do."""
    enrolled = np.column_stack([np.arange(20), np.arange(20)])
    tried = {case: np.full((20, 1 if case == OWN else 20), 1_000_000) for case in CASES}
    passed = np.repeat([0, 1_000_000], 10)[:, None]
    accepted = {case: np.broadcast_to(passed, part.shape) for case, part in tried.items()}
    one = Tally(Pairing(enrolled, enrolled), tried, {"rule": accepted})
    share = shares([one, one], "rule", (20, 20), np.random.default_rng(0))[OWN]
    assert (share.accepted, share.tried, share.value) == (20_000_000, 40_000_000, 0.5)
    # a person's weight is a product of two Poisson(1) counts, whose square has the mean 4
    spread = math.sqrt(4 * 0.25 / 20)
    assert share.high - share.low == pytest.approx(2 * 1.96 * spread, rel=0.3)
