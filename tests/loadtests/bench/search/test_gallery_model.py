"""The distribution that large galleries are drawn from."""

from pathlib import Path

import numpy as np

from loadtests.bench.search import gallery_model


def test_draw_gives_unit_rows_whose_probes_are_nearest_to_their_own_subject():
    references, probes = gallery_model.load_gallery_model().draw(3000, 200, seed=1)
    np.testing.assert_allclose(np.linalg.norm(references, axis=1), 1, atol=1e-5)
    similarities = probes @ references.T
    own = similarities[np.arange(200), np.arange(200)]
    assert np.mean(similarities.argmax(axis=1) == np.arange(200)) > 0.9
    # mated clips against references of three, as measured on the real ones: between two clips 0.61, three 0.7
    assert 0.6 < own.mean() < 0.8
    assert abs(np.median(similarities)) < 0.1


def test_draw_of_one_seed_is_always_the_same_and_of_another_is_not():
    model = gallery_model.load_gallery_model()
    first, again, other = (model.draw(50, 5, seed=seed)[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.1


def test_fit_of_clips_drawn_from_known_covariances_recovers_them():
    rng = np.random.default_rng(3)
    between, within = np.diag([4.0, 2.0, 1.0, 0.5]), np.diag([0.2, 0.4, 0.6, 0.8])
    own = rng.multivariate_normal([1, 0, 0, 0], between, 4000)
    clips = np.repeat(own, 5, axis=0) + rng.multivariate_normal(np.zeros(4), within, 20_000)
    fitted = gallery_model.fit_gallery_model(clips.astype(np.float32), [str(i // 5) for i in range(20_000)])
    np.testing.assert_allclose(fitted.mean, [1, 0, 0, 0], atol=0.15)
    np.testing.assert_allclose(fitted.within, within, atol=0.05)
    shrunk = 0.9 * between + 0.1 * within * (7.5 / 2.0)
    np.testing.assert_allclose(fitted.between, shrunk, atol=0.3)


def test_statistics_written_and_read_again_are_the_same_and_small(tmp_path: Path):
    model = gallery_model.load_gallery_model()
    gallery_model.save_gallery_model(model, tmp_path / "again.npz")
    again = gallery_model.load_gallery_model(tmp_path / "again.npz")
    for name in ("mean", "between", "within", "spread"):
        np.testing.assert_allclose(getattr(again, name), getattr(model, name), rtol=1e-6)
    assert gallery_model.STATISTICS.stat().st_size < 300_000
