"""The loop learns, keeps the best, stops, resumes exactly, and refuses a loss that is not a number."""

from copy import deepcopy
from typing import get_args

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from matchka_train.errors import DatasetError, DivergedError
from matchka_train.evaluation.validation import Accuracy, unchanged, validate
from matchka_train.features.features import join_features
from matchka_train.fitting.batches import TrainingClips, count_steps, epoch_of_batches
from matchka_train.fitting.loop import Plan, train
from matchka_train.fitting.losses import LossRecipe
from matchka_train.fitting.schedule import OptimisationRecipe
from matchka_train.fitting.selection import Standing, best_of, can_still_win, standing
from matchka_train.projections.families import begin
from matchka_train.projections.mlp import MlpRecipe
from matchka_train.projections.trained.linear import LinearRecipe
from matchka_train.projections.trained.refined import RefinedRecipe
from matchka_train.run.candidate import window_embedder
from tests.factories.features import make_features

DIM, DIMS = 12, (3, 6, 12)


class Kept:
    """Remembers every state, as a folder would."""

    def __init__(self, resume_from=None, stop_after=None):
        self.resume_from, self.stop_after = resume_from, stop_after
        self.states, self.best = [], None

    def resume(self):
        return self.resume_from

    def epoch_done(self, state, best, current):  # noqa: ARG002 - the loop hands it over
        self.states.append(deepcopy(state))
        self.best = best
        if state["epoch"] == self.stop_after:
            raise KeyboardInterrupt


@pytest.fixture
def features():
    return join_features(
        [
            make_features(identities=16, clips=5, dim=DIM, domain="a", seed=1),
            make_features(identities=12, clips=4, dim=DIM, domain="b", seed=2, windows=3),
        ]
    )


@pytest.fixture
def judged():
    return [
        make_features(identities=10, clips=4, dim=DIM, domain=name, seed=seed) for name, seed in (("a", 8), ("b", 9))
    ]


def fit(
    features, judged, family=None, loss="sup_con", checkpoint_store=None, clips=None, step_done=None, **optimisation
):
    family = family or LinearRecipe()
    values = {"epochs": 5, "identities_per_batch": 8, "clips_per_identity": 3, **optimisation}
    plan = Plan(LossRecipe(kind=loss), OptimisationRecipe(**values), DIMS, seed=4)
    raw = validate(unchanged, judged, DIMS)
    projection = begin(features, family, DIM, seed=4)
    clips = clips or TrainingClips(features, pooled=projection.is_affine)
    checkpoint_store = checkpoint_store or Kept()
    trained = train(
        projection,
        clips,
        lambda m: validate(window_embedder(m), judged, DIMS),
        raw,
        plan,
        checkpoint_store,
        step_done or (lambda _: None),
    )
    return trained, checkpoint_store, raw


@pytest.mark.parametrize("loss", get_args(LossRecipe.model_fields["kind"].annotation))
def test_train_with_every_loss_lowers_it(features, judged, loss):
    trained, _, _ = fit(features, judged, loss=loss, epochs=8, warmup_epochs=0, learning_rate=3e-3)
    losses = [entry["loss"] for entry in trained.history[1:]]
    assert min(losses[4:]) < losses[0]
    assert not trained.flat


def test_train_keeps_the_epoch_that_validation_says_is_best(features, judged):
    trained, checkpoint_store, raw = fit(features, judged, epochs=6)
    again = standing(validate(window_embedder(trained.best), judged, DIMS), raw)
    reached = [(entry["excess"], entry["ratio"]) for entry in trained.history]
    assert reached[trained.best_epoch] == (again.excess, again.ratio)
    assert again.excess == min(excess for excess, _ in reached)
    assert len(checkpoint_store.states) == len(trained.history) == 7


def test_train_when_the_last_epoch_is_kept_does_not_ask_validation(features, judged):
    # at this rate the first epochs are the best; patience of one would stop after the second worse one
    trained, store, raw = fit(features, judged, epochs=6, learning_rate=0.1, keep="last", patience_epochs=1)
    reached = [entry["ratio"] for entry in trained.history]
    assert min(reached) < reached[-1]
    assert trained.best_epoch == 6
    assert standing(validate(window_embedder(trained.best), judged, DIMS), raw).ratio == reached[-1]
    assert [set(state["weights"]) for state in store.states] == [{epoch} for epoch in range(7)]
    interrupted = Kept(stop_after=3)
    with pytest.raises(KeyboardInterrupt):
        fit(features, judged, epochs=6, learning_rate=0.1, keep="last", checkpoint_store=interrupted)
    again, _, _ = fit(
        features, judged, epochs=6, learning_rate=0.1, keep="last", checkpoint_store=Kept(interrupted.states[-1])
    )
    for name, tensor in trained.best.state_dict().items():
        assert torch.equal(tensor, again.best.state_dict()[name])


@pytest.mark.parametrize("family", [LinearRecipe(), MlpRecipe(hidden=16), RefinedRecipe()])
def test_train_when_interrupted_and_resumed_ends_with_the_same_projection(features, judged, family):
    whole, _, _ = fit(features, judged, family, average_from=0.4)
    stopped = Kept(stop_after=3)
    with pytest.raises(KeyboardInterrupt):
        fit(features, judged, family, checkpoint_store=stopped, average_from=0.4)
    resumed, checkpoint_store, _ = fit(
        features, judged, family, checkpoint_store=Kept(stopped.states[-1]), average_from=0.4
    )
    assert len(checkpoint_store.states) == 2  # epochs 4 and 5
    assert [entry["loss"] for entry in resumed.history] == [entry["loss"] for entry in whole.history]
    rows = torch.tensor(features.pooled())
    assert torch.equal(resumed.best(rows), whole.best(rows))


def test_train_with_another_seed_gives_another_projection_and_with_the_same_the_same(features, judged):
    rows = torch.tensor(features.pooled())
    first, second = (fit(features, judged)[0].best(rows) for _ in range(2))
    assert torch.equal(first, second)


def test_train_when_nothing_gets_better_stops_early(features, judged):
    trained, _, _ = fit(features, judged, epochs=50, patience_epochs=3, learning_rate=1e-9, floor_learning_rate=0)
    assert len(trained.history) - 1 - trained.best_epoch == 3
    assert len(trained.history) < 40


def test_train_when_the_rate_is_nothing_says_that_the_loss_stayed_flat(features, judged):
    # every identity in every batch, so that only learning could change the loss
    trained, _, _ = fit(
        features,
        judged,
        LinearRecipe(dropout=0),
        learning_rate=1e-12,
        loss_learning_rate=1e-12,
        floor_learning_rate=0,
        identities_per_batch=16,
        clips_per_identity=5,
    )
    assert trained.flat


def test_train_when_the_loss_is_nan_stops_and_keeps_the_last_good_epoch(features, judged):
    class Poisoned(TrainingClips):
        epochs = 0

        def refresh(self):
            self.epochs += 1
            if self.epochs == 3:
                self._rows = torch.full_like(self._rows, torch.nan)

    checkpoint_store = Kept()
    with pytest.raises(DivergedError, match="nan in epoch 3"):
        fit(features, judged, checkpoint_store=checkpoint_store, clips=Poisoned(features, pooled=True))
    assert [state["epoch"] for state in checkpoint_store.states] == [0, 1, 2]
    assert torch.isfinite(checkpoint_store.best(torch.tensor(features.pooled()))).all()


LARGE = {"epochs": 2, "margin": 0.6, "learning_rate": 2e-4}


@pytest.mark.parametrize("loss", ["aam_softmax", "sub_centre_aam"])
def test_train_with_a_large_margin_trains_so_behind_the_other_epochs(features, judged, loss):
    values = {"epochs": 3, "patience_epochs": 9}
    plain, before, _ = fit(features, judged, loss=loss, **values)
    tuned, after, _ = fit(features, judged, loss=loss, large_margin=LARGE, **values)
    assert [entry["loss"] for entry in tuned.history[:4]] == [entry["loss"] for entry in plain.history]
    assert len(tuned.history) == 6
    assert tuned.history[4]["loss"] > plain.history[3]["loss"] + 5  # at a scale of 30, by the margin
    assert not torch.equal(*(store.states[-1]["projection"]["linear.weight"] for store in (before, after)))
    stopped = Kept(stop_after=4)
    with pytest.raises(KeyboardInterrupt):
        fit(features, judged, loss=loss, checkpoint_store=stopped, large_margin=LARGE, **values)
    store = Kept(stopped.states[-1])
    resumed, _, _ = fit(features, judged, loss=loss, checkpoint_store=store, large_margin=LARGE, **values)
    assert [entry["loss"] for entry in resumed.history] == [entry["loss"] for entry in tuned.history]


def test_rate_of_the_stage_with_a_large_margin_begins_low_and_falls_to_the_floor():
    schedule = OptimisationRecipe(epochs=12, floor_learning_rate=1e-5, patience_epochs=14, large_margin=LARGE)
    plain = OptimisationRecipe(epochs=12, floor_learning_rate=1e-5)
    assert [schedule.rate_at(at) for at in (1, 2, 7, 12)] == [plain.rate_at(at) for at in (1, 2, 7, 12)]
    rates = [schedule.learning_rate * schedule.rate_at(at) for at in (12.0001, 13, 14)]
    assert rates == pytest.approx([2e-4, 1.05e-4, 1e-5], rel=1e-4)
    assert [schedule.margin_in(epoch) for epoch in (1, 12, 13, 14)] == [None, None, 0.6, 0.6]
    assert "large_margin" not in plain.model_dump()


def test_train_on_more_clips_than_its_steps_allow_shortens_every_epoch_alike(features, judged):
    schedule = {"epochs": 6, "warmup_epochs": 2, "identities_per_batch": 4, "clips_per_identity": 2}
    whole = count_steps(TrainingClips(features, pooled=True), 4, 2)
    assert whole == 8
    told = []
    trained, store, _ = fit(features, judged, step_done=told.append, max_steps=6 * 3 + 5, **schedule)
    assert len(trained.history) == 7  # validated as often as without
    assert told == pytest.approx([step / 3 for step in range(1, 19)])  # 3 steps each: a fourth would be 24 of 23
    assert store.states[-1]["optimiser"]["state"][0]["step"] == 18
    interrupted = Kept(stop_after=4)
    with pytest.raises(KeyboardInterrupt):
        fit(features, judged, checkpoint_store=interrupted, max_steps=23, **schedule)
    again, _, _ = fit(features, judged, checkpoint_store=Kept(interrupted.states[-1]), max_steps=23, **schedule)
    assert all(torch.equal(trained.best.state_dict()[name], rows) for name, rows in again.best.state_dict().items())


def test_train_on_fewer_clips_than_its_steps_allow_is_what_it_was_without_a_limit(features, judged):
    schedule = {"epochs": 6, "identities_per_batch": 4, "clips_per_identity": 2}
    weights = [fit(features, judged, max_steps=steps, **schedule)[0].best.state_dict() for steps in (6 * 8, 1_000_000)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_max_steps_is_in_records_only_where_it_was_chosen_and_has_room_for_every_epoch():
    assert "max_steps" not in OptimisationRecipe().model_dump(mode="json")  # records of before have none
    assert OptimisationRecipe(max_steps=500).model_dump(mode="json")["max_steps"] == 500
    with pytest.raises(ValidationError, match="max_steps must be 35 or more"):
        OptimisationRecipe(epochs=30, max_steps=34, patience_epochs=35, large_margin={"epochs": 5})


def test_averaging_gives_the_mean_of_the_parameters_after_every_step(features, judged):
    trained = {}

    class Watching(Kept):
        def epoch_done(self, state, best, current):
            super().epoch_done(state, best, current)
            trained[state["epoch"]] = state["average_of"]["linear.weight"].clone() if state["average_of"] else None

    fit(
        features,
        judged,
        LinearRecipe(batch_norm=False, dropout=0),
        checkpoint_store=Watching(),
        epochs=4,
        average_from=0.5,
        identities_per_batch=16,
        clips_per_identity=5,
    )  # one step an epoch: the states are all steps there are
    assert trained[2] is None
    checkpoint_store = Kept()
    fit(
        features,
        judged,
        LinearRecipe(batch_norm=False, dropout=0),
        checkpoint_store=checkpoint_store,
        epochs=4,
        average_from=0.5,
        identities_per_batch=16,
        clips_per_identity=5,
    )
    steps = [state["projection"]["linear.weight"] for state in checkpoint_store.states[3:]]
    assert torch.allclose(trained[4], sum(steps) / len(steps), atol=1e-6)


def test_draw_when_windows_are_not_pooled_gives_the_windows_of_the_chosen_clips(features):
    batch = TrainingClips(features, pooled=False).draw(1, 5, 3, np.random.default_rng(0))
    assert len(batch.labels) == 15
    assert len(set(batch.labels.tolist())) == 5
    assert len(batch.rows) == 45
    assert torch.allclose(batch.pool(batch.rows), batch.raw, atol=1e-6)
    pooled = features.pooled()
    for row, label in zip(batch.raw.numpy(), batch.labels.tolist(), strict=True):
        (at,) = np.flatnonzero(np.all(np.isclose(pooled, row), axis=1))
        assert features.subjects[at] == sorted(set(features.subjects))[label]
        assert features.domains[at] == "b"


def test_epoch_of_batches_draws_every_domain_in_every_step(features):
    steps = list(epoch_of_batches(TrainingClips(features, pooled=True), 4, 2, np.random.default_rng(0)))
    assert len(steps) == 8  # 128 clips, 16 a step
    assert all([batch.domain for batch in step] == [0, 1] for step in steps)


def test_training_clips_of_a_domain_with_one_identity_refuse():
    with pytest.raises(DatasetError, match="one identity"):
        TrainingClips(make_features(identities=1, clips=3, dim=4), pooled=True)


def accuracy(eer, mated=1000):
    return Accuracy(eer, 0.0, {}, 10, mated, 1000)


def test_best_of_prefers_what_is_not_worse_than_raw_in_any_domain():
    raw = {"a": {8: accuracy(0.10)}, "b": {8: accuracy(0.02)}}
    tuned = standing({"a": {8: accuracy(0.03)}, "b": {8: accuracy(0.03)}}, raw)
    careful = standing({"a": {8: accuracy(0.09)}, "b": {8: accuracy(0.02)}}, raw)
    assert best_of([tuned, careful]) == 1
    assert tuned.excess == pytest.approx(0.0305 / 0.0205 - 1)
    assert careful.excess == 0


def test_best_of_when_one_pair_differs_in_the_worst_domain_looks_at_the_others():
    raw = {"a": {8: accuracy(0.10)}, "b": {8: accuracy(0.03, mated=100)}}
    first = standing({"a": {8: accuracy(0.08)}, "b": {8: accuracy(0.0201, mated=100)}}, raw)
    second = standing({"a": {8: accuracy(0.05)}, "b": {8: accuracy(0.03, mated=100)}}, raw)
    third = standing({"a": {8: accuracy(0.04)}, "b": {8: accuracy(0.0305, mated=100)}}, raw)
    assert first.ratio < second.ratio
    assert second.one_pair == pytest.approx(0.01 / 0.035)
    assert best_of([first, second, third]) == 1
    far = standing({"a": {8: accuracy(0.02)}, "b": {8: accuracy(0.005, mated=100)}}, raw)
    assert best_of([first, second, far]) == 2


def test_can_still_win_keeps_every_one_that_becomes_best_later():
    generator = np.random.default_rng(0)
    for _ in range(300):
        values = generator.integers(0, 4, (6, 4)) / 4
        seen = [Standing(max(0.0, excess - 0.5), *others) for excess, *others in values.tolist()]
        for count in range(1, 7):
            kept = [number for number in range(count) if can_still_win(seen[number], seen[:count])]
            for later in range(count, 7):
                best = best_of(seen[:later])
                assert best >= count or any(seen[number] == seen[best] for number in kept)


def test_standing_ratio_is_the_geometric_mean_over_dims_of_the_worst_domain():
    raw = {"a": {4: accuracy(0.5), 8: accuracy(0.1)}}
    found = standing({"a": {4: accuracy(0.2), 8: accuracy(0.05)}}, raw)
    assert found.ratio == pytest.approx(((0.2005 / 0.1005) * (0.0505 / 0.1005)) ** 0.5)
