"""The gate lets nothing pass that is worse than the frozen backbone, and names the number."""

import dataclasses

import numpy as np
import numpy.typing as npt
import pytest

from matchka_export.errors import GateError
from matchka_export.gate.evidence import GateResult
from matchka_export.gate.gate import judge, require_hashes, require_not_worse
from tests.factories.facts import toy_facts

Clips = tuple[npt.NDArray[np.float32], list[str]]
DIM = 16


@pytest.fixture(scope="module")
def clips() -> Clips:
    rng = np.random.default_rng(3)
    centres = rng.standard_normal((30, DIM))
    rows = np.repeat(centres, 4, axis=0) + 0.5 * rng.standard_normal((120, DIM))
    return rows.astype(np.float32), [f"p{number}" for number in range(30) for _ in range(4)]


def slow_eer(clips: Clips) -> float:
    """Where the two error rates are closest, over every similarity as threshold."""
    rows, subjects = clips
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    mated, other = [], []
    for i in range(len(unit)):
        for j in range(i):
            (mated if subjects[i] == subjects[j] else other).append(float(unit[i] @ unit[j]))
    rates = [(np.mean(np.array(mated) < t), np.mean(np.array(other) >= t)) for t in sorted(mated)]
    fnmr, fmr = min(rates, key=lambda pair: abs(pair[0] - pair[1]))
    return float(fnmr + fmr) / 2


def test_judge_when_graph_equals_backbone_finds_no_difference(clips: Clips) -> None:
    result = judge({"here": clips}, {"here": clips}, DIM, seed=0)["here"]
    assert (result.low, result.high) == (0.0, 0.0)
    assert result.eer == result.backbone_eer == pytest.approx(slow_eer(clips), abs=0.005)
    assert require_not_worse({"here": result}, accept_worse=None) is None


def test_judge_when_graph_is_noisier_is_refused_with_its_numbers(clips: Clips) -> None:
    noisy = (clips[0] + np.random.default_rng(4).standard_normal(clips[0].shape).astype(np.float32), clips[1])
    results = judge({"here": noisy, "there": clips}, {"here": clips, "there": clips}, DIM, seed=0)
    assert 0 < results["here"].low < results["here"].eer - results["here"].backbone_eer < results["here"].high
    with pytest.raises(GateError) as caught:
        require_not_worse(results, accept_worse=None)
    assert f"here: EER {100 * results['here'].eer:.2f} %" in caught.value.detail
    assert f"{100 * results['here'].backbone_eer:.2f} %" in caught.value.detail
    assert "there" not in caught.value.detail


def test_judge_when_projection_drops_what_tells_people_apart_is_refused(clips: Clips) -> None:
    """The backbone is judged with all of its components, whatever the projection kept."""
    results = judge({"here": (clips[0][:, :2].copy(), clips[1])}, {"here": clips}, 2, seed=0)
    assert results["here"].backbone_eer == pytest.approx(slow_eer(clips), abs=0.005)
    with pytest.raises(GateError):
        require_not_worse(results, accept_worse=None)


def test_judge_when_clips_differ_refuses(clips: Clips) -> None:
    with pytest.raises(GateError, match="same clips"):
        judge({"here": (clips[0][1:], clips[1][1:])}, {"here": clips}, DIM, seed=0)


WORSE = GateResult(eer=0.2, backbone_eer=0.1, low=0.05, high=0.15)
UNSURE = GateResult(eer=0.11, backbone_eer=0.1, low=-0.01, high=0.03)


def test_require_not_worse_when_reason_is_given_returns_it_only_where_it_was_needed() -> None:
    assert require_not_worse({"here": WORSE}, accept_worse="telephone only") == "telephone only"
    assert require_not_worse({"here": UNSURE}, accept_worse="telephone only") is None


def test_require_not_worse_when_difference_may_be_chance_accepts() -> None:
    assert require_not_worse({"here": UNSURE}, accept_worse=None) is None


def test_require_hashes_when_one_is_a_placeholder_refuses() -> None:
    facts = toy_facts()
    require_hashes(facts)
    empty = facts.projection.model_copy(update={"sha256": "0" * 64})
    with pytest.raises(GateError, match="projection"):
        require_hashes(dataclasses.replace(facts, projection=empty))
