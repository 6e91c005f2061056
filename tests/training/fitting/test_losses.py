"""Every loss against its formula, written as loops over the batch."""

import math

import numpy as np
import pytest
import torch

from matchka_train.fitting.batches import ClipBatch
from matchka_train.fitting.losses import LossRecipe, MatryoshkaLoss, overlapping, similarity_distillation

LABELS = [0, 0, 1, 2, 1, 0]
CLIPS = [0, 0, 1, 2, 3, 4]  # rows 0 and 1 come from one recording
SPANS = [(0.0, 0.6), (0.5, 1.0), (0.0, 1.0), (0.0, 1.0), (0.0, 1.0), (0.0, 1.0)]


@pytest.fixture
def embeddings():
    return torch.tensor(np.random.default_rng(0).standard_normal((6, 5)) * 3, dtype=torch.float32)


@pytest.fixture
def batch():
    raw = torch.tensor(np.random.default_rng(1).standard_normal((6, 7)), dtype=torch.float32)
    return ClipBatch(
        rows=raw,
        clip_of_row=torch.arange(6),
        rows_of_clip=torch.ones(6),
        raw=raw,
        labels=torch.tensor(LABELS),
        clips=torch.tensor(CLIPS),
        spans=torch.tensor(SPANS),
        domain=1,
    )


def unit(rows, dim):
    return [[x / math.sqrt(sum(y * y for y in row[:dim])) for x in row[:dim]] for row in rows.tolist()]


def cosine(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))


def loss_of(kind, dims, embeddings, batch, **values):
    torch.manual_seed(0)
    loss = MatryoshkaLoss(LossRecipe(kind=kind, **values), dims, identities=3, domains=2)
    return loss, float(loss(embeddings, batch).detach())


def test_aam_softmax_equals_its_formula_at_every_dim(embeddings, batch):
    loss, found = loss_of("aam_softmax", (3, 5), embeddings, batch, margin=0.2, scale=30.0)
    expected = 0.0
    for head, dim in zip(loss.per_dim, (3, 5), strict=True):
        weights = head.loss.W.detach().T
        rows, classes = unit(embeddings, dim), unit(weights, dim)
        for row, label in zip(rows, LABELS, strict=True):
            logits = [30 * cosine(row, other) for other in classes]
            logits[label] = 30 * math.cos(math.acos(cosine(row, classes[label])) + 0.2)
            expected += (math.log(sum(math.exp(value) for value in logits)) - logits[label]) / 6 / 2
    assert found == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("centres", [2, 4])
def test_sub_centre_aam_equals_its_formula_with_the_nearest_centre_of_each_identity(embeddings, batch, centres):
    loss, found = loss_of("sub_centre_aam", (3, 5), embeddings, batch, margin=0.3, scale=20.0, sub_centres=centres)
    expected = 0.0
    for head, dim in zip(loss.per_dim, (3, 5), strict=True):
        rows, weights = unit(embeddings, dim), unit(head.loss.W.detach().T, dim)
        assert len(weights) == 3 * centres
        for row, label in zip(rows, LABELS, strict=True):
            nearest = [
                max(cosine(row, weights[identity * centres + number]) for number in range(centres))
                for identity in range(3)
            ]
            logits = [20 * value for value in nearest]
            logits[label] = 20 * math.cos(math.acos(nearest[label]) + 0.3)
            expected += (math.log(sum(math.exp(value) for value in logits)) - logits[label]) / 6 / 2
    assert found == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("kind", ["aam_softmax", "sub_centre_aam"])
def test_set_margin_gives_the_loss_that_is_made_with_it(embeddings, batch, kind):
    _, expected = loss_of(kind, (3, 5), embeddings, batch, margin=0.6)
    loss, before = loss_of(kind, (3, 5), embeddings, batch, margin=0.2)
    loss.set_margin(0.6)
    assert float(loss(embeddings, batch).detach()) == pytest.approx(expected, rel=1e-6)
    assert expected > before


def test_loss_recipe_leaves_out_of_records_what_came_later():
    assert "sub_centres" not in LossRecipe().model_dump()
    assert LossRecipe(kind="sub_centre_aam", sub_centres=5).model_dump()["sub_centres"] == 5


def test_sup_con_equals_its_formula(embeddings, batch):
    _, found = loss_of("sup_con", (4,), embeddings, batch, temperature=0.5)
    rows, terms = unit(embeddings, 4), []
    for i, row in enumerate(rows):
        logits = [cosine(row, other) / 0.5 for other in rows]
        total = sum(math.exp(value) for j, value in enumerate(logits) if j != i)
        mates = [logits[j] - math.log(total) for j in range(6) if j != i and LABELS[j] == LABELS[i]]
        if mates:  # row 3 is alone with its label
            terms.append(-sum(mates) / len(mates))
    assert found == pytest.approx(sum(terms) / len(terms), rel=1e-4)


def test_info_nce_equals_its_formula(embeddings, batch):
    _, found = loss_of("info_nce", (4,), embeddings, batch, temperature=0.5)
    rows, terms = unit(embeddings, 4), []
    for i, row in enumerate(rows):
        non_mated = sum(math.exp(cosine(row, rows[j]) / 0.5) for j in range(6) if LABELS[j] != LABELS[i])
        for j in range(6):
            if j != i and LABELS[j] == LABELS[i]:
                mate = math.exp(cosine(row, rows[j]) / 0.5)
                terms.append(-math.log(mate / (mate + non_mated)))
    assert found == pytest.approx(sum(terms) / len(terms), rel=1e-4)


def test_triplet_equals_its_formula(embeddings, batch):
    _, found = loss_of("triplet", (4,), embeddings, batch, margin=0.3)
    rows, terms = unit(embeddings, 4), []
    for i in range(6):
        for j in range(6):
            for k in range(6):
                if j != i and LABELS[j] == LABELS[i] and LABELS[k] != LABELS[i]:
                    violation = cosine(rows[i], rows[k]) - cosine(rows[i], rows[j]) + 0.3
                    if violation > 0:
                        terms.append(violation)
    assert found == pytest.approx(sum(terms) / len(terms), rel=1e-4)


def test_pairwise_logistic_equals_its_formula_and_leaves_out_overlapping_recordings(embeddings, batch):
    loss, _ = loss_of("pairwise_logistic", (4,), embeddings, batch)
    with torch.no_grad():  # another line in each domain, so that the wrong one would show
        loss.per_dim[0].scale.copy_(torch.tensor([99.0, 4.0]))
        loss.per_dim[0].offset.copy_(torch.tensor([99.0, -1.0]))
    rows, misses, false_alarms = unit(embeddings, 4), [], []
    for i in range(6):
        for j in range(6):
            ratio = 4 * cosine(rows[i], rows[j]) - 1
            if i != j and LABELS[i] == LABELS[j] and {i, j} != {0, 1}:
                misses.append(math.log(1 + math.exp(-ratio)))
            elif LABELS[i] != LABELS[j]:
                false_alarms.append(math.log(1 + math.exp(ratio)))
    expected = sum(misses) / len(misses) + sum(false_alarms) / len(false_alarms)
    assert float(loss(embeddings, batch).detach()) == pytest.approx(expected, rel=1e-4)


def test_similarity_distillation_is_the_mean_squared_change_of_cosines(embeddings, batch):
    after, before = unit(embeddings, 5), unit(batch.raw, 7)
    squares = [(cosine(after[i], after[j]) - cosine(before[i], before[j])) ** 2 for i in range(6) for j in range(6)]
    assert float(similarity_distillation(embeddings, batch.raw)) == pytest.approx(sum(squares) / 36, rel=1e-4)


def test_dim_weights_weigh_the_dims_and_distillation_is_added(embeddings, batch):
    alone = [loss_of("sup_con", (dim,), embeddings, batch)[1] for dim in (2, 5)]
    _, found = loss_of("sup_con", (2, 5), embeddings, batch, dim_weights=(3.0, 1.0), distillation=0.5)
    distilled = float(similarity_distillation(embeddings, batch.raw))
    assert found == pytest.approx(0.75 * alone[0] + 0.25 * alone[1] + 0.5 * distilled, rel=1e-5)


def test_overlapping_when_parts_only_touch_is_false():
    found = overlapping(torch.tensor([5, 5, 5]), torch.tensor([[0.0, 0.5], [0.5, 1.0], [0.4, 0.6]]))
    assert found.tolist() == [[True, False, True], [False, True, True], [True, True, True]]
