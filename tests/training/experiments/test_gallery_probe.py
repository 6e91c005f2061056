"""A gallery against probes, recomputed with loops."""

import numpy as np
import pytest

from matchka_train.errors import NoTrialsError
from matchka_train.experiments.gallery_probe import gallery_probe

SUBJECTS = ["ada"] * 5 + ["bob"] * 2 + ["cyd"] + ["dan"] * 3


def embeddings(seed: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    centres = {name: generator.standard_normal(6) for name in sorted(set(SUBJECTS))}
    return np.array([centres[name] + 0.9 * generator.standard_normal(6) for name in SUBJECTS], np.float32)


def test_gallery_probe_is_what_loops_over_people_and_photographs_give():
    gallery, probes = embeddings(1), 3.0 * embeddings(2)
    found = gallery_probe(gallery, probes, SUBJECTS, threshold=0.2)
    # ada is enrolled by three of five, bob by one of two, cyd by her only one, dan by two of three
    enrolled = {"ada": [0, 1, 2], "bob": [5], "cyd": [7], "dan": [8, 9]}
    probed = {"ada": [3, 4], "bob": [6], "cyd": [], "dan": [10]}
    mated, non_mated, right, accepted = [], [], 0, 0
    for name, rows in probed.items():
        for row in rows:
            similarities = {}
            for other, templates in enrolled.items():
                units = [gallery[template] / np.linalg.norm(gallery[template]) for template in templates]
                reference = np.mean(units, axis=0)
                similarities[other] = float(
                    probes[row] @ reference / np.linalg.norm(probes[row]) / np.linalg.norm(reference)
                )
            mated.append(similarities[name])
            non_mated += [value for other, value in similarities.items() if other != name]
            hit = max(similarities, key=similarities.__getitem__) == name
            right += hit
            accepted += hit and similarities[name] >= 0.2
    assert (found.references, found.probes) == (4, 4)
    assert found.mated == pytest.approx(np.mean(mated), abs=1e-6)
    assert found.non_mated == pytest.approx(np.mean(non_mated), abs=1e-6)
    assert found.rank_1 == right / 4
    assert found.accepted == accepted / 4
    assert found.false_matches == pytest.approx(np.mean([value >= 0.2 for value in non_mated]))
    thresholds = sorted([*mated, *non_mated])
    rates = [(np.mean([m < t for m in mated]), np.mean([n >= t for n in non_mated])) for t in thresholds]
    least, most = max(min(pair) for pair in rates), min(max(pair) for pair in rates)
    assert least - 1e-9 <= found.eer <= most + 1e-9


def test_gallery_probe_when_no_threshold_is_given_lets_one_in_a_thousand_impostors_pass():
    generator = np.random.default_rng(0)
    people, each, dim = 60, 4, 16
    rows = generator.standard_normal((people * each, dim)).astype(np.float32)
    subjects = [str(number // each) for number in range(people * each)]
    found = gallery_probe(rows, rows, subjects)
    numbers = sorted(set(subjects), key=subjects.index)
    similarities = []
    for number, name in enumerate(numbers):
        probe = rows[number * each + 3] / np.linalg.norm(rows[number * each + 3])
        for other in range(people):
            if numbers[other] != name:
                reference = sum(row / np.linalg.norm(row) for row in rows[other * each : other * each + 3])
                similarities.append(float(probe @ reference / np.linalg.norm(reference)))
    passed = np.mean(np.array(similarities) >= found.threshold)
    assert 0 < passed <= 2e-3
    assert found.false_matches == pytest.approx(passed)


@pytest.mark.parametrize("subjects", [["ada", "bob"], ["ada", "ada"]])
def test_gallery_probe_when_there_is_nothing_to_look_for_says_so(subjects):
    rows = np.eye(2, dtype=np.float32)
    with pytest.raises(NoTrialsError, match="two people"):
        gallery_probe(rows, rows, subjects)
