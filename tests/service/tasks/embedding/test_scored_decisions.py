"""Decisions of a bundle with a scorer of its own, over HTTP, against dense normal densities."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.factories.bundles import CALIBRATION, CONTEXT, DIMS, HOP
from tests.factories.graphs import WINDOW
from tests.factories.samples import RATE_HZ, sample, voice
from tests.factories.scorers import slow_similarity, write_scored_bundle
from tests.factories.slow_embedding import cosine, embedding_of
from tests.factories.small_server import SmallServer, serving, small_settings

TEMPLATES = {"ada": [(1, 0, 0.6), (1, 1, 1.4)], "ben": [(2, 0, 0.5)], "cid": [(3, 0, 0.9), (3, 1, 0.7)]}
PROBE = (1, 9, 0.6)
TOLERANCE = 1e-5


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SmallServer]:
    write_scored_bundle(tmp_path / "models" / "voice")
    with serving(small_settings(tmp_path)) as running:
        yield running


def rows_of(seconds: float) -> int:
    """Windows of a clip, counted in a loop."""
    start, rows = -CONTEXT, 1
    while start + WINDOW - CONTEXT < round(seconds * RATE_HZ):
        start, rows = start + HOP, rows + 1
    return rows


def reference_of(name: str) -> tuple[np.ndarray, int]:
    embeddings = [embedding_of(voice(*take)) for take in TEMPLATES[name]]
    return np.sum(embeddings, axis=0) / len(embeddings), sum(rows_of(take[2]) for take in TEMPLATES[name])


def enrol_all(server: SmallServer) -> None:
    for name, takes in TEMPLATES.items():
        server.client().enroll(name, [sample(*take) for take in takes], "voice")


@pytest.mark.parametrize("dim", DIMS)
def test_verify_answers_the_similarity_of_the_scorer_and_the_cosine_beside_it(server: SmallServer, dim: int):
    enrol_all(server)
    probe = embedding_of(voice(*PROBE))
    for name in TEMPLATES:
        answer = server.client().verify(name, sample(*PROBE), "voice", dim)
        mean, rows = reference_of(name)
        expected = slow_similarity(mean, probe, rows, rows_of(PROBE[2]), dim)
        assert answer.similarity == pytest.approx(expected, abs=TOLERANCE)
        assert answer.cosine == pytest.approx(cosine(mean, probe, dim), abs=TOLERANCE)
        assert answer.match == (answer.similarity >= answer.threshold)
        scale, offset = CALIBRATION["1" if len(TEMPLATES[name]) == 1 else "3"]
        assert answer.probability == pytest.approx(1 / (1 + np.exp(-(scale * expected + offset))), abs=1e-4)
    assert abs(answer.similarity - answer.cosine) > 1e-3


def test_compare_counts_the_rows_of_both_samples(server: SmallServer):
    answer = server.client().compare(sample(*PROBE), sample(2, 0, 0.5), "voice", 4)
    a, b = embedding_of(voice(*PROBE)), embedding_of(voice(2, 0, 0.5))
    expected = slow_similarity(a, b, rows_of(PROBE[2]), rows_of(0.5), 4)
    assert answer.similarity == pytest.approx(expected, abs=TOLERANCE)


@pytest.mark.parametrize("dim", DIMS)
def test_identify_ranks_and_decides_by_the_scorer(server: SmallServer, dim: int):
    enrol_all(server)
    answer = server.client().identify(sample(*PROBE), "voice", top_k=2, dim=dim)
    probe = embedding_of(voice(*PROBE))
    expected = {
        name: slow_similarity(reference_of(name)[0], probe, reference_of(name)[1], rows_of(PROBE[2]), dim)
        for name in TEMPLATES
    }
    best = sorted(expected, key=expected.__getitem__, reverse=True)[:2]
    assert [candidate.subject_id for candidate in answer.candidates] == best
    for candidate in answer.candidates:
        assert candidate.similarity == pytest.approx(expected[candidate.subject_id], abs=TOLERANCE)
        assert candidate.cosine == pytest.approx(cosine(reference_of(candidate.subject_id)[0], probe, dim), abs=1e-5)


def test_enrolment_names_similar_subjects_by_the_scorer(server: SmallServer):
    server.client().enroll("ada", [sample(*take) for take in TEMPLATES["ada"]], "voice")
    answer = server.client().enroll("double", [sample(1, 5, 0.8)], "voice")
    (similar,) = answer.similar_subjects
    mean, rows = reference_of("ada")
    expected = slow_similarity(mean, embedding_of(voice(1, 5, 0.8)), rows, rows_of(0.8), 8)
    assert similar.subject_id == "ada"
    assert similar.similarity == pytest.approx(expected, abs=TOLERANCE)


def test_embed_answers_of_how_many_rows_each_embedding_is_the_mean(server: SmallServer):
    answer = server.client().embed([sample(1, 0, 0.6), sample(2, 0, 1.3)], "voice")
    assert answer.row_counts == [rows_of(0.6), rows_of(1.3)]


def test_reference_with_a_template_from_before_rows_were_counted_is_compared_as_a_long_one(tmp_path: Path):
    write_scored_bundle(tmp_path / "models" / "voice")
    settings = small_settings(tmp_path)
    with serving(settings) as server:
        enrol_all(server)
    connection = sqlite3.connect(tmp_path / "data" / "matchka.sqlite")
    with connection:
        connection.execute("UPDATE templates SET row_count = NULL")
        connection.execute("UPDATE subject_references SET row_count = NULL")
    connection.close()
    with serving(settings) as server:
        client, probe = server.client(), embedding_of(voice(*PROBE))
        mean, _ = reference_of("ada")
        expected = slow_similarity(mean, probe, np.inf, rows_of(PROBE[2]), 8)
        assert client.verify("ada", sample(*PROBE), "voice").similarity == pytest.approx(expected, abs=TOLERANCE)
        candidates = {c.subject_id: c.similarity for c in client.identify(sample(*PROBE), "voice").candidates}
        assert candidates["ada"] == pytest.approx(expected, abs=TOLERANCE)
        client.enroll("ada", [sample(1, 7, 0.9)], "voice")  # one template that is counted does not make it short
        mean = (2 * mean + embedding_of(voice(1, 7, 0.9))) / 3
        expected = slow_similarity(mean, probe, np.inf, rows_of(PROBE[2]), 8)
        assert client.verify("ada", sample(*PROBE), "voice").similarity == pytest.approx(expected, abs=TOLERANCE)
