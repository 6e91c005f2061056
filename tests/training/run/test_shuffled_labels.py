"""Permuted labels: nobody gains or loses a sample, no label crosses into another domain."""

from collections import Counter

from matchka_train.features.features import join_features
from matchka_train.run.shuffled_labels import shuffle_labels
from tests.factories.features import make_features


def test_shuffle_labels_permutes_within_each_domain() -> None:
    parts = [make_features(10, 4, 8, domain="a"), make_features(7, 3, 8, domain="b", seed=1)]
    features = join_features(parts)
    shuffled = shuffle_labels(features, seed=5)
    by_label = [Counter(zip(some.subjects, some.domains, strict=True)) for some in (features, shuffled)]
    assert by_label[0] == by_label[1]
    kept = sum(before == after for before, after in zip(features.subjects, shuffled.subjects, strict=True))
    assert kept < len(features.subjects) / 3
    assert shuffled.paths == features.paths
    assert shuffled.windows is features.windows


def test_shuffle_labels_with_one_seed_permutes_in_the_same_way() -> None:
    features = make_features(10, 4, 8)
    assert shuffle_labels(features, 5).subjects == shuffle_labels(features, 5).subjects
    assert shuffle_labels(features, 5).subjects != shuffle_labels(features, 6).subjects
