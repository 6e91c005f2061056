"""The CTC loss beside a sum over all alignments; batches, and a loop that an interruption does not change."""

from copy import deepcopy
from dataclasses import dataclass, field
from itertools import groupby, product

import numpy as np
import pytest
import torch

from matchka_train.datasets.transcripts import Transcript
from matchka_train.errors import DivergedError, FeatureError
from matchka_train.features.frames import FrameFeatures
from matchka_train.fitting.ctc.clips import SpokenClips, batches_by_length, read_batch, spoken_clips
from matchka_train.fitting.ctc.loop import ctc_loss, judge_head, train_head
from matchka_train.fitting.ctc.recipe import CtcRecipe
from matchka_train.heads.phones.head import EncoderShape, PhoneHead
from matchka_train.heads.phones.masking import Masking
from matchka_train.heads.phones.recipe import HeadRecipe

CLASSES = 4
HEAD = HeadRecipe.model_validate({"context": {"kind": "convolution", "width": 12, "layers": 1, "dropout": 0.1}})
PLAIN = {"half_precision": False}


@dataclass
class InMemory:
    states: list = field(default_factory=list)
    begin: dict | None = None

    def resume(self):
        return self.begin

    def epoch_done(self, state, best):
        self.states.append(state)
        self.last = {name: tensor.clone() for name, tensor in best.state_dict().items()}


def made_clips(tmp_path, count=24, seed=0):
    """Clips whose frames show the phone that is said, in noise."""
    generator = np.random.default_rng(seed)
    centres = np.random.default_rng(9).standard_normal((CLASSES, 2, 5)) * 2
    files, counts, said = [], [], []
    for number in range(count):
        phones = tuple(generator.integers(1, CLASSES, generator.integers(2, 5)).tolist())
        path = [phone for phone in phones for phone in (phone, phone, 0)]
        frames = centres[path] + 0.2 * generator.standard_normal((len(path), 2, 5))
        np.savez(tmp_path / f"{seed}-{number}.npz", frames=frames.astype(np.float16))
        files.append(tmp_path / f"{seed}-{number}.npz")
        counts.append(len(path))
        said.append(Transcript(f"text {number}", phones))
    features = FrameFeatures(tuple(files), np.array(counts), 2, 5, ())
    return spoken_clips([features], said, [f"s{number % 4}" for number in range(count)])


def head():
    torch.manual_seed(0)
    return PhoneHead(HEAD, [EncoderShape(2, 5)], CLASSES)


def summed_over_alignments(log_posteriors, phones):
    """-log of the probability of every path that reads as these phones, each looked at by itself."""
    total = -np.inf
    for path in product(range(CLASSES), repeat=len(log_posteriors)):
        if tuple(phone for phone, _ in groupby(path) if phone) == phones:
            total = np.logaddexp(total, sum(row[phone] for row, phone in zip(log_posteriors, path, strict=True)))
    return -total


def test_ctc_loss_is_the_sum_over_all_alignments_by_phones(tmp_path):
    clips = made_clips(tmp_path, 3)
    clips = SpokenClips(clips.encoded, np.array([6, 4, 5]), clips.transcripts, clips.subjects)
    short = tuple(Transcript("", phones) for phones in ((1, 1, 2), (3,), (2, 3)))
    clips = SpokenClips(clips.encoded, clips.counts, short, clips.subjects)
    module = head().eval()
    batch = read_batch(clips, [0, 1, 2])
    rows = module(batch.encoded, batch.lengths).detach().numpy()
    expected = [
        summed_over_alignments(row[:count], said.phones) / len(said.phones)
        for row, count, said in zip(rows, clips.counts, short, strict=True)
    ]
    assert float(ctc_loss(module, batch, **PLAIN).detach()) == pytest.approx(np.mean(expected), abs=1e-5)


def test_batches_by_length_when_drawn_hold_every_clip_once_and_few_lengths():
    counts = np.random.default_rng(1).integers(20, 200, 100)
    drawn = list(batches_by_length(counts, 8, np.random.default_rng(2)))
    assert sorted(number for batch in drawn for number in batch) == list(range(100))
    assert np.mean([np.ptp(counts[batch]) for batch in drawn]) < 40  # of 180
    again = list(batches_by_length(counts, 8, np.random.default_rng(3)))
    assert sorted(map(sorted, drawn)) != sorted(map(sorted, again))


def test_train_head_on_made_clips_reads_other_clips(tmp_path):
    clips, others = made_clips(tmp_path, 60), made_clips(tmp_path, 12, seed=1)
    recipe = CtcRecipe(epochs=25, batch_clips=6, learning_rate=1e-2, half_precision=False, masking=Masking())
    assert judge_head(head(), others).rate > 0.8
    trained = train_head(head(), clips, others, recipe, 0, InMemory())
    found = judge_head(trained.best, others)
    assert found.rate < 0.1
    assert found.rate == min(entry["per"] for entry in trained.history)
    assert trained.history[trained.best_epoch - 1]["per"] == found.rate


def test_train_head_when_masks_end_goes_on_as_one_without_masks(tmp_path):
    clips = made_clips(tmp_path)

    class Copying(InMemory):
        def epoch_done(self, state, best):
            super().epoch_done(deepcopy(state), best)

    def trained(masking, begin=None):
        store = Copying(begin=begin)
        recipe = CtcRecipe(epochs=5, batch_clips=6, warmup_epochs=1, average_from=1, masking=masking, **PLAIN)
        return store.states, train_head(head(), clips, clips, recipe, 3, store).history

    states, halves = trained(Masking(until=0.5))
    _, whole = trained(Masking())
    assert [entry["loss"] for entry in halves[:2]] == [entry["loss"] for entry in whole[:2]]
    assert halves[2]["loss"] != whole[2]["loss"]  # half of five epochs are two whole ones
    _, resumed = trained(None, states[1])
    assert resumed == halves


def test_train_head_when_interrupted_ends_as_if_it_had_not_been(tmp_path):
    clips, others = made_clips(tmp_path), made_clips(tmp_path, 6, seed=1)
    recipe = CtcRecipe(epochs=6, batch_clips=6, average_from=0.4, validate_every_epochs=2, masking=Masking(until=0.7))
    whole = InMemory()
    train_head(head(), clips, others, recipe, 3, whole)

    class StopError(Exception):
        pass

    class Interrupted(InMemory):
        def epoch_done(self, state, _best):
            torch.save(state, tmp_path / "state.pt")
            if state["epoch"] == 4:
                raise StopError

    with pytest.raises(StopError):
        train_head(head(), clips, others, recipe, 3, Interrupted())
    torch.manual_seed(99)
    resumed = InMemory(begin=torch.load(tmp_path / "state.pt", weights_only=True))
    fresh = PhoneHead(HEAD, [EncoderShape(2, 5)], CLASSES)  # at another start: everything comes from the state
    train_head(fresh, clips, others, recipe, 3, resumed)
    assert len(resumed.states) == 2
    assert all(torch.equal(tensor, resumed.last[name]) for name, tensor in whole.last.items())


def test_train_head_when_frames_are_not_numbers_says_that_it_diverged(tmp_path):
    clips = made_clips(tmp_path, 6)
    np.savez(tmp_path / "0-0.npz", frames=np.full((int(clips.counts[0]), 2, 5), np.nan, np.float16))
    with pytest.raises(DivergedError, match="learning_rate"):
        train_head(head(), clips, clips, CtcRecipe(epochs=4, **PLAIN), 0, InMemory())


def test_spoken_clips_when_a_clip_could_not_be_read_leave_it_out_and_refuse_other_periods(tmp_path):
    clips = made_clips(tmp_path, 4)
    (features,) = clips.encoded
    broken = FrameFeatures((None, *features.files[1:]), features.counts * [0, 1, 1, 1], 2, 5, ())
    kept = spoken_clips([features, broken], clips.transcripts, clips.subjects)
    assert [said.text for said in kept.transcripts] == ["text 1", "text 2", "text 3"]
    one_more = FrameFeatures(features.files, features.counts + 1, 2, 5, ())
    assert np.array_equal(spoken_clips([features, one_more], clips.transcripts, clips.subjects).counts, features.counts)
    slower = FrameFeatures(features.files, features.counts // 2, 2, 5, ())
    with pytest.raises(FeatureError, match="same frames"):
        spoken_clips([features, slower], clips.transcripts, clips.subjects)
