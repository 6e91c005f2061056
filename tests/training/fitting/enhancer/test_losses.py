"""Losses of an enhancer beside slow loops."""

import math

import numpy as np
import torch
from torch.nn import functional

from matchka_train.fitting.enhancer.losses import (
    Bank,
    ClassificationLoss,
    EnhancerLoss,
    contrastive_loss,
    paired_loss,
    pixel_loss,
)
from matchka_train.fitting.enhancer.recipe import EnhancerLossRecipe

SUBJECTS = [0, 0, 1, 1, 1, 2]
ROWS = [1, 3, 5]
MIRRORED = [False, True, True]


def bank() -> Bank:
    torch.manual_seed(0)
    return Bank(functional.normalize(torch.randn(2, 6, 4), dim=2), torch.tensor(SUBJECTS))


def embeddings() -> torch.Tensor:
    torch.manual_seed(1)
    return functional.normalize(torch.randn(3, 4), dim=1)


def test_bank_embeds_a_sample_as_the_direction_between_both_views() -> None:
    for row, found in enumerate(bank().embeddings.numpy()):
        one, mirrored = bank().views[0, row].numpy(), bank().views[1, row].numpy()
        assert np.isclose(np.linalg.norm(found), 1.0)
        assert np.isclose(np.dot(found, one), np.dot(found, mirrored), atol=1e-6)
        assert np.dot(found, one) > 0 or np.allclose(one, -mirrored)


def test_paired_loss_is_one_less_the_mean_cosine_to_the_own_sample_seen_the_same_way_round() -> None:
    views, found = bank().views.numpy(), embeddings().numpy()
    own = [views[1 if mirrored else 0][row] for row, mirrored in zip(ROWS, MIRRORED, strict=True)]
    slow = 1 - np.mean([float(np.dot(one, other)) for one, other in zip(found, own, strict=True)])
    loss = paired_loss(embeddings(), torch.tensor(ROWS), torch.tensor(MIRRORED), bank())
    assert math.isclose(float(loss), slow, rel_tol=1e-5)


def test_contrastive_loss_tells_other_samples_of_a_subject_from_those_of_all_others() -> None:
    known, found, temperature = bank().embeddings.numpy(), embeddings().numpy(), 0.1
    losses = []
    for one, row in zip(found, ROWS, strict=True):
        scores = [math.exp(float(np.dot(one, other)) / temperature) for other in known]
        strangers = sum(score for score, subject in zip(scores, SUBJECTS, strict=True) if subject != SUBJECTS[row])
        others = [at for at, subject in enumerate(SUBJECTS) if subject == SUBJECTS[row] and at != row] or [row]
        losses.append(np.mean([-math.log(scores[at] / (scores[at] + strangers)) for at in others]))
    loss = contrastive_loss(embeddings(), torch.tensor(ROWS), bank(), temperature)
    assert math.isclose(float(loss.detach()), float(np.mean(losses)), rel_tol=1e-4)


def test_classification_loss_is_arcface_around_the_mean_of_each_subject() -> None:
    margin, scale = 0.2, 30.0
    known, found = bank().embeddings.numpy(), embeddings().numpy()
    centres = [known[[at for at, one in enumerate(SUBJECTS) if one == subject]].sum(axis=0) for subject in range(3)]
    centres = [centre / np.linalg.norm(centre) for centre in centres]
    losses = []
    for one, row in zip(found, ROWS, strict=True):
        angles = [math.acos(float(np.dot(one, centre))) for centre in centres]
        angles[SUBJECTS[row]] += margin
        logits = [scale * math.cos(angle) for angle in angles]
        losses.append(-math.log(math.exp(logits[SUBJECTS[row]]) / sum(map(math.exp, logits))))
    loss = ClassificationLoss(bank(), margin, scale)(embeddings(), torch.tensor(ROWS))
    assert math.isclose(float(loss.detach()), float(np.mean(losses)), rel_tol=1e-3)


def test_enhancer_loss_is_the_weighted_sum_of_those_that_count() -> None:
    torch.manual_seed(2)
    enhanced, full = torch.rand(3, 5, 5, 3) * 255, torch.rand(3, 5, 5, 3) * 255
    recipe = EnhancerLossRecipe(paired=2.0, contrastive=0.0, pixels=3.0)
    rows, mirrored = torch.tensor(ROWS), torch.tensor(MIRRORED)
    slow = 2 * paired_loss(embeddings(), rows, mirrored, bank())
    slow = float(slow) + 3 * np.abs(enhanced.numpy() - full.numpy()).mean() / 32
    found = EnhancerLoss(recipe, bank())(enhanced, full, embeddings(), rows, mirrored)
    assert math.isclose(float(found.detach()), slow, rel_tol=1e-5)
    assert math.isclose(float(pixel_loss(full + 32, full)), 1.0, rel_tol=1e-5)
