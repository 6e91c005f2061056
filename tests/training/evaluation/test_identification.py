"""Identification against loops over every probe and reference."""

import math

import numpy as np
import pytest

from matchka_train.errors import NoTrialsError
from matchka_train.evaluation.identification import identification_rows, identify


def people(sizes: list[int], dim: int = 6, spread: float = 0.6) -> tuple[np.ndarray, list[str]]:
    generator = np.random.default_rng(3)
    rows, subjects = [], []
    for number, size in enumerate(sizes):
        centre = generator.normal(size=dim)
        rows += [centre + generator.normal(0, spread, dim) for _ in range(size)]
        subjects += [f"person-{number:02d}"] * size
    return np.array(rows, np.float32) * generator.uniform(0.5, 3, (len(rows), 1)).astype(np.float32), subjects


def unit(vector: np.ndarray) -> np.ndarray:
    return vector.astype(float) / math.sqrt(sum(float(v) ** 2 for v in vector))


def slowly(embeddings: np.ndarray, subjects: list[str], dim: int) -> dict[str, float]:
    names = sorted(set(subjects))
    own = {name: [e for e, s in zip(embeddings, subjects, strict=True) if s == name] for name in names}
    gallery = {n: unit(sum(unit(e) for e in own[n][:3])[:dim]) for n in names if len(own[n]) > 3}
    best, right, foreign, impostor_best = [], [], [], []
    for name in names:
        for sample in own[name][3:] if name in gallery else own[name]:
            similarity = {other: float(unit(sample[:dim]) @ reference) for other, reference in gallery.items()}
            foreign += [value for other, value in similarity.items() if other != name]
            if name in gallery:
                best.append(max(similarity.values()))
                right.append(max(similarity, key=similarity.__getitem__) == name)
            else:
                impostor_best.append(max(similarity.values()))

    def passes(values: list[float], share: float) -> float:
        """Lowest of many tried thresholds that at most that share reaches."""
        tried = [v + 1e-7 for v in sorted(values)]
        return min(t for t in tried if sum(v >= t for v in values) <= share * len(values) + 1e-9)

    def found(threshold: float) -> float:
        return sum(r and b >= threshold for r, b in zip(right, best, strict=True)) / len(right)

    return {
        "rank_1": sum(right) / len(right),
        "0.05": 1 - found(passes(impostor_best, 0.05)),
        "0.01": 1 - found(passes(impostor_best, 0.01)),
        "accuracy": found(passes(foreign, 1e-3)),
    }


@pytest.mark.parametrize("dim", [2, 4, 6])
def test_identify_when_looped_over_is_the_same(dim: int) -> None:
    embeddings, subjects = people([5, 1, 7, 2, 4, 9, 3, 12, 30, 6])
    found, expected = identify(embeddings, subjects, dim), slowly(embeddings, subjects, dim)
    assert (found.enrolled, found.probes, found.strangers) == (7, 2 + 4 + 1 + 6 + 9 + 27 + 3, 6)
    assert found.rank_1 == pytest.approx(expected["rank_1"])
    assert found.fnir_at_fpir == pytest.approx({key: expected[key] for key in ("0.05", "0.01")})
    assert found.accuracy == pytest.approx(expected["accuracy"])


def test_identify_when_everybody_has_enough_samples_makes_every_second_an_impostor() -> None:
    embeddings, subjects = people([5, 5, 5, 5])
    found = identify(embeddings, subjects, 6)
    assert (found.enrolled, found.probes, found.strangers) == (2, 4, 10)


def test_identify_when_nobody_can_be_enrolled_refuses() -> None:
    embeddings, subjects = people([3, 3, 1])
    with pytest.raises(NoTrialsError, match="more than 3 samples"):
        identify(embeddings, subjects, 6)


def test_identification_rows_when_printed_put_the_raw_backbone_first() -> None:
    embeddings, subjects = people([5, 1, 7, 2])
    rates = {"here": {6: identify(embeddings, subjects, 6)}}
    assert [row[1] for row in identification_rows(rates, rates)] == ["model", "raw backbone", "projection"]
