"""Indices of clusters against sums written out row by row."""

import numpy as np
import pytest

from matchka_train.errors import NoTrialsError
from matchka_train.metrics.clusters import davies_bouldin, silhouette

POINTS = np.array([[0.0, 0.0], [0.0, 1.0], [4.0, 0.0], [5.0, 1.0], [4.0, 2.0], [9.0, 9.0], [8.0, 9.0]])
LABELS = np.array(["a", "a", "b", "b", "b", "c", "c"])
DISTANCES = np.linalg.norm(POINTS[:, None] - POINTS[None], axis=2)


def test_silhouette_is_that_of_loops_over_rows():
    scores = []
    for row, label in enumerate(LABELS):
        means = {}
        for other in "abc":
            rows = [number for number in range(len(LABELS)) if LABELS[number] == other and number != row]
            means[other] = sum(DISTANCES[row, number] for number in rows) / len(rows)
        nearest = min(mean for other, mean in means.items() if other != label)
        scores.append((nearest - means[label]) / max(nearest, means[label]))
    assert silhouette(DISTANCES, LABELS) == pytest.approx(sum(scores) / len(scores))


def test_davies_bouldin_is_that_of_loops_over_groups():
    centres = {label: POINTS[label == LABELS].mean(axis=0) for label in "abc"}
    spread = {
        label: np.mean([np.linalg.norm(point - centres[label]) for point in POINTS[label == LABELS]]) for label in "abc"
    }
    worst = [
        max((spread[a] + spread[b]) / np.linalg.norm(centres[a] - centres[b]) for b in "abc" if b != a) for a in "abc"
    ]
    assert davies_bouldin(POINTS, LABELS) == pytest.approx(np.mean(worst))


@pytest.mark.parametrize("labels", [["a"] * 7, ["a"] * 6 + ["b"]])
def test_groups_that_cannot_be_told_apart_are_refused(labels: list[str]):
    with pytest.raises(NoTrialsError, match="two groups"):
        silhouette(DISTANCES, np.array(labels))
    with pytest.raises(NoTrialsError, match="two groups"):
        davies_bouldin(POINTS, np.array(labels))
