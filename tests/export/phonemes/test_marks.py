"""People's scale, out of a benchmark of heads of the same kind."""

from pathlib import Path

import pytest
from pydantic import TypeAdapter

from matchka_export.errors import EvidenceError
from matchka_export.phonemes.marks import read_scale
from matchka_train.evaluation.pronunciation import MarkLine
from matchka_train.experiments.phonemes.results import Benchmark, MarkedRun
from matchka_train.heads.phones.recipe import HeadRecipe

GATED = HeadRecipe.model_validate({"fusion": {"kind": "gated"}})
EARLY = HeadRecipe()
ENCODERS = ("a" * 64, "b" * 64)


@pytest.fixture
def benchmark(tmp_path: Path) -> Path:
    line = MarkLine(slope=0.4, offset=9.5, low=7.0, high=10.0, error=0.7, constant_error=0.9)
    run = MarkedRun(
        *("gated", GATED, ENCODERS, 0.4, 0.5, 0.8, 0.4, 0.7, 2500, 125),
        line=line,
    )
    path = tmp_path / "phonemes.json"
    path.write_bytes(TypeAdapter(Benchmark).dump_json(Benchmark((), (run,), ())))
    return path


def test_read_scale_of_a_head_of_the_same_kind_is_the_line_with_its_error(benchmark: Path) -> None:
    scale = read_scale(benchmark, GATED, ENCODERS)
    assert (scale.slope, scale.offset, scale.low, scale.high) == (0.4, 9.5, 7.0, 10.0)
    assert (scale.error, scale.constant_error, scale.pearson, scale.speakers) == (0.7, 0.9, 0.5, 125)


@pytest.mark.parametrize(("head", "encoders"), [(EARLY, ENCODERS), (GATED, ENCODERS[:1])])
def test_read_scale_of_a_head_that_was_not_held_against_marks_raises(
    benchmark: Path, head: HeadRecipe, encoders: tuple[str, ...]
) -> None:
    with pytest.raises(EvidenceError, match="held against people's marks"):
        read_scale(benchmark, head, encoders)


def test_read_scale_of_something_else_raises(tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(EvidenceError, match="cannot be read"):
        read_scale(tmp_path / "other.json", GATED, ENCODERS)
