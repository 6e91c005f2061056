"""The gate lets nothing pass that may be worse than the frozen backbone, and names the number."""

import dataclasses
from functools import partial

import numpy as np
import numpy.typing as npt
import pytest
from rich.console import Console

from matchka.bundles.outputs.measurements import DimReport
from matchka_export.errors import GateError, UndecidableError, statable
from matchka_export.gate.gate import DimGate, Pairs, dim_gates, gate_table, judge, require_hashes, require_passed
from matchka_train.errors import NoTrialsError
from matchka_train.metrics.bootstrap import paired_difference
from matchka_train.metrics.pairs import PairSimilarities, all_pairs
from tests.factories.bundles import dim_report
from tests.factories.facts import toy_facts

FloatArray = npt.NDArray[np.float32]
Samples = tuple[FloatArray, list[str]]
DIM = 16
DIMS = (4, DIM)


def people(count: int, clips: int, spread: float, seed: int) -> Samples:
    """Embeddings about one centre for each person; later components tell less."""
    generator = np.random.default_rng(seed)
    scale = np.linspace(1.5, 0.3, DIM)
    rows = np.repeat(generator.standard_normal((count, DIM)) * scale, clips, axis=0)
    rows = rows + spread * generator.standard_normal(rows.shape)
    return rows.astype(np.float32), [f"p{number // clips}" for number in range(count * clips)]


@pytest.fixture(scope="module")
def samples() -> Samples:
    return people(60, 5, 0.5, seed=3)


def pairs_of(**domains: Samples) -> Pairs:
    def at(rows: FloatArray, subjects: list[str], dim: int) -> PairSimilarities:
        return all_pairs(rows[:, :dim], subjects)

    return {domain: partial(at, rows, subjects) for domain, (rows, subjects) in domains.items()}


def judged(projected: Samples, raw: Samples) -> dict[str, DimGate]:
    return judge(pairs_of(here=projected), pairs_of(here=raw), DIMS, DIM, seed=0)


def slow_eer(samples: Samples) -> float:
    """Where the two error rates are closest, over every similarity as threshold."""
    rows, subjects = samples
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    mated, other = [], []
    for i in range(len(unit)):
        for j in range(i):
            (mated if subjects[i] == subjects[j] else other).append(float(unit[i] @ unit[j]))
    rates = [(np.mean(np.array(mated) < t), np.mean(np.array(other) >= t)) for t in sorted(mated)]
    fnmr, fmr = min(rates, key=lambda pair: abs(pair[0] - pair[1]))
    return float(fnmr + fmr) / 2


def test_judge_when_graph_equals_backbone_finds_no_difference(samples: Samples) -> None:
    found = judged(samples, samples)
    for dim in DIMS:
        at = found[str(dim)].gate["here"]
        assert (at.upper, at.verdict) == (0.0, "passed")
        assert at.eer == at.reference_eer == pytest.approx(slow_eer((samples[0][:, :dim], samples[1])), abs=0.005)
    assert (at.subjects, at.mated_pairs, at.unit, at.resamples) == (60, 600, "subject", 500)
    assert found["4"].gate["here"].reference == "frozen backbone, truncated to 4"
    assert found["4"].order == {}
    assert found["16"].order["here"].against_dim == 4
    assert require_passed(found, accept_worse=None) is None


def test_judge_when_graph_is_noisier_is_refused_with_its_numbers(samples: Samples) -> None:
    noisy = (samples[0] + 0.4 * np.random.default_rng(4).standard_normal(samples[0].shape).astype(np.float32),)
    pairs = pairs_of(here=(noisy[0], samples[1]), there=samples), pairs_of(here=samples, there=samples)
    found = judge(*pairs, DIMS, DIM, seed=0)
    at = found["16"].gate["here"]
    assert at.eer == pytest.approx(slow_eer((noisy[0], samples[1])), abs=0.005)
    with pytest.raises(GateError) as caught:
        require_passed(found, accept_worse=None)
    assert f"here at dim 16: EER {100 * at.eer:.2f} % against {100 * at.reference_eer:.2f} %" in caught.value.detail
    assert f"below {100 * max(0.003, 0.15 * at.reference_eer):.2f}" in caught.value.detail
    assert "there" not in caught.value.detail


def test_judge_when_projection_drops_what_tells_people_apart_is_refused(samples: Samples) -> None:
    """At full dim the backbone is judged with all of its components, whatever the projection kept."""
    few = pairs_of(here=(samples[0][:, :4].copy(), samples[1]))
    found = judge(few, pairs_of(here=samples), (2, 4), DIM, seed=0)
    assert found["4"].gate["here"].reference_eer == pytest.approx(slow_eer(samples), abs=0.005)
    assert (found["2"].gate["here"].verdict, found["4"].gate["here"].verdict) == ("passed", "refused")


def test_judge_when_clips_differ_refuses(samples: Samples) -> None:
    with pytest.raises(NoTrialsError, match="same pairs"):
        judged((samples[0][1:], samples[1][1:]), samples)


def test_judge_when_an_embedding_is_not_finite_refuses(samples: Samples) -> None:
    broken = samples[0].copy()
    broken[7, 3] = np.nan
    with pytest.raises(NoTrialsError, match="not a number"):
        judged((broken, samples[1]), samples)


# --- cheats that a gate by significance at full dim let through -----------------------------------------------------
def test_require_passed_when_projection_is_a_random_matrix_refuses(samples: Samples) -> None:
    for seed in (1, 2, 3):
        mixed = samples[0] @ np.random.default_rng(seed).standard_normal((DIM, DIM)).astype(np.float32)
        with pytest.raises(GateError, match="here at dim"):
            require_passed(judged((mixed, samples[1]), samples), accept_worse=None)


def test_require_passed_when_second_domain_doubles_its_errors_refuses_what_was_not_significant(
    samples: Samples,
) -> None:
    """125 people, 750 mated pairs: .27 % become .53 %, and the interval of the difference includes 0."""
    few_errors = people(125, 4, 0.28, seed=6)
    harmed = (few_errors[0].copy(), few_errors[1])
    harmed[0][40] = few_errors[0][60]  # taken for another person's
    harmed[0][200] += np.float32(0.7) * (few_errors[0][144] - few_errors[0][200])  # nearly
    pairs = pairs_of(first=samples, second=harmed), pairs_of(first=samples, second=few_errors)
    difference = paired_difference(pairs[0]["second"](DIM), pairs[1]["second"](DIM), seed=0)
    assert difference.other_eer < 0.003 < 0.005 < difference.eer < 0.007
    assert difference.low <= 0, "significance lets it through"
    with pytest.raises(GateError, match="second at dim 16"):
        require_passed(judge(*pairs, (DIM,), DIM, seed=0), accept_worse=None)


def test_require_passed_when_components_are_reversed_refuses_the_short_dim(samples: Samples) -> None:
    found = judged((samples[0][:, ::-1].copy(), samples[1]), samples)
    assert found["16"].gate["here"].verdict == "passed", "at full dim nothing shows"
    with pytest.raises(GateError, match="here at dim 4: EER"):
        require_passed(found, accept_worse=None)


def test_require_passed_when_a_dim_is_constant_refuses_it_as_guessing(samples: Samples) -> None:
    constant = samples[0].copy()
    constant[:, :4] = 1.0
    with pytest.raises(GateError, match=r"here at dim 4: EER 50\.00 % is as good as guessing"):
        require_passed(judged((constant, samples[1]), samples), accept_worse=None)


def test_require_passed_when_labels_are_shuffled_refuses_them_as_guessing(samples: Samples) -> None:
    wrong = (samples[0], np.random.default_rng(0).permutation(samples[1]).tolist())
    with pytest.raises(GateError, match="are its labels right"):
        require_passed(judged(wrong, wrong), accept_worse=None)


def test_require_passed_when_a_longer_dim_is_worse_than_a_shorter_one_refuses(samples: Samples) -> None:
    """Components behind the fourth are noise in graph and backbone alike, so that only the order shows it."""
    noisy = samples[0].copy()
    noisy[:, 4:] = 2.0 * np.random.default_rng(1).standard_normal((len(noisy), DIM - 4))
    found = judged((noisy, samples[1]), (noisy, samples[1]))
    assert {at.gate["here"].verdict for at in found.values()} == {"passed"}
    with pytest.raises(GateError, match="longer dim must not be worse"):
        require_passed(found, accept_worse=None)


def test_require_passed_when_there_are_three_people_is_undecidable_and_no_pass(samples: Samples) -> None:
    three = (samples[0][:15], samples[1][:15])
    with pytest.raises(UndecidableError, match="here: 3 people and 30 mated pairs; it takes 50 and 300"):
        require_passed(judged(three, three), accept_worse=None)


def test_require_passed_when_reason_is_given_returns_it_only_where_it_was_needed(samples: Samples) -> None:
    three = (samples[0][:15], samples[1][:15])
    reversed_rows = (samples[0][:, ::-1].copy(), samples[1])
    assert require_passed(judged(three, three), accept_worse="a toy") == "a toy"
    assert require_passed(judged(reversed_rows, samples), accept_worse="telephone only") == "telephone only"
    assert require_passed(judged(samples, samples), accept_worse="telephone only") is None


def test_gate_table_when_printed_shows_bound_margin_and_verdict(samples: Samples) -> None:
    found = judged((samples[0][:, ::-1].copy(), samples[1]), samples)
    console = Console(width=200)
    with console.capture() as shown:
        console.print(gate_table(found))
    at = found["4"].gate["here"]
    (line,) = [line for line in shown.get().splitlines() if "refused" in line]
    cells = [cell.strip() for cell in line.strip("│ ").split("│")]
    assert cells == [
        "here",
        "4",
        f"{100 * at.eer:.2f}",
        f"{100 * at.reference_eer:.2f}",
        f"{100 * at.upper:+.2f}",
        f"{100 * at.margin:.2f}",
        "-",
        "refused",
    ]


def test_dim_gates_when_a_measured_domain_was_not_judged_refuses() -> None:
    with pytest.raises(GateError, match="made-up"):
        dim_gates({"8": DimReport.model_validate(dim_report())})


def test_statable_when_measurements_fit_no_manifest_names_the_field() -> None:
    wrong = dim_report()
    wrong["calibration"]["1"]["scale"] = -3.0
    with pytest.raises(GateError, match=r"calibration\.1\.scale: .*greater than 0") as caught, statable("The dim"):
        DimReport.model_validate(wrong)
    assert caught.value.detail.startswith("The dim cannot be written down")
    assert caught.value.value == "-3.0"


def test_require_hashes_when_one_is_a_placeholder_refuses() -> None:
    facts = toy_facts()
    require_hashes(facts)
    empty = facts.projection.model_copy(update={"sha256": "0" * 64})
    with pytest.raises(GateError, match="projection"):
        require_hashes(dataclasses.replace(facts, projection=empty))
