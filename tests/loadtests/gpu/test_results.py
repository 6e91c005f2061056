"""Lines that are kept as they come, options that reach every part, and figures against sums by hand."""

import argparse
import json
from ctypes.util import find_library
from pathlib import Path

import numpy as np
import pytest

from loadtests.bench.rows import alone
from loadtests.gpu import searchers
from loadtests.gpu.driver import Cpu, NoGpuError, open_device
from loadtests.gpu.options import add_options, as_arguments, options_of
from loadtests.gpu.part import run_part
from loadtests.gpu.parts.parity import row_of
from loadtests.gpu.parts.search import Gallery, searched
from loadtests.gpu.results import Skipped, append, begin, forget, read, write_report
from loadtests.gpu.sessions import CUDA, SERVED, NoCudaError, is_out_of_memory, open_session
from matchka.inference.session import CUDA_OPTIONS

without_driver = pytest.mark.skipif(find_library("cuda") is not None, reason="there is an NVIDIA driver here")


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_options(parser)
    return parser.parse_args(words)


def test_lines_of_parts_that_were_cut_short_are_in_the_report(tmp_path: Path):
    measured, skipped = alone("a/b", "what is measured", [1.0, 3.0, 2.0], "ms", ""), Skipped("c", "too little memory")
    for part in ("first", "second"):
        begin(tmp_path / f"{part}.jsonl")
    append(tmp_path / "first.jsonl", measured)
    append(tmp_path / "second.jsonl", skipped)
    assert [*read(tmp_path / "first.jsonl"), *read(tmp_path / "second.jsonl")] == [measured, skipped]
    page = write_report(tmp_path)
    assert "| what is measured | 2.00 ms |" in page
    assert "- not measured: `c`: too little memory" in page
    assert [row["part"] for row in json.loads((tmp_path / "gpu.json").read_text())["results"]] == ["first", "second"]


def test_line_cut_in_the_middle_costs_no_other_line(tmp_path: Path):
    path, lines = tmp_path / "search.jsonl", [alone(f"search/{name}", name, [1.0], "ms", "") for name in "abc"]
    for line in lines[:2]:
        append(path, line)
    path.write_text(path.read_text()[:-20])  # killed while it wrote the second
    append(path, lines[2])
    assert list(read(path)) == [lines[0], lines[2]]
    assert "| c | 1.00 ms |" in write_report(tmp_path)


def test_lines_that_are_kept_are_replaced_where_they_are_measured_anew(tmp_path: Path):
    first, other = alone("search/a", "a", [1.0], "ms", ""), alone("search/b", "b", [2.0], "ms", "")
    anew, path = alone("search/a", "a", [3.0], "ms", ""), tmp_path / "search.jsonl"
    for line in (first, other, Skipped("search", "cut short after 600 s")):
        append(path, line)
    forget(path, "search")
    append(path, anew)
    assert sorted(read(path), key=lambda line: line.id) == [anew, other]


def test_graphs_are_measured_with_the_options_that_the_service_gives_cuda():
    assert SERVED == CUDA_OPTIONS


def test_options_written_for_a_part_are_those_that_were_given():
    given = options_of(parsed("--device", "cpu", "--subjects", "10", "20", "--seconds", "0.25", "--keep"))
    assert given.subjects == (10, 20)
    assert given.keep
    assert not options_of(parsed(*as_arguments(options_of(parsed())))).keep
    assert options_of(parsed(*as_arguments(given))) == given


def test_parity_is_the_largest_difference_and_the_smallest_cosine():
    true = np.array([[1.0, 0.0], [0.0, 2.0]], np.float32)
    ours = np.array([[1.0, 0.0], [2.0, 2.0]], np.float32)
    row = row_of("parity/voice/model/embeddings", "TF32 off", ours, true, "<= 1e-3")
    assert (row.ours, row.met) == (2.0, False)
    assert "smallest cosine 0.7071068, largest number 2" in row.what


def test_gallery_larger_than_what_is_free_is_left_out_and_says_what_it_needs():
    options = options_of(parsed("--device", "cpu"))
    (left_out,) = searched(Gallery("faiss", 10**12, 256, False), options)
    assert isinstance(left_out, Skipped)
    assert "GiB of the machine's own memory are free" in left_out.why


def test_gallery_whose_rows_would_repeat_is_left_out_and_says_so(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(searchers, "BASE_ROWS", 10)
    (left_out,) = searched(Gallery("faiss", 81, 8, False), options_of(parsed("--device", "cpu", "--dims", "8")))
    assert left_out == Skipped("search/faiss/float32/81x8", "81 rows of 8 components would repeat; 80 do not")


def test_copies_within_memory_are_counted_as_read_and_written():
    with Cpu().room_for_copies(1000) as copy:
        copied = copy.measure()
    assert copied.ms_for(int(copied.bytes_s)) == pytest.approx(1000, rel=1e-3)


def test_errors_that_say_memory_is_lacking_are_told_from_others():
    assert is_out_of_memory(RuntimeError("Failed to allocate memory for requested buffer of size 8"))
    assert is_out_of_memory(RuntimeError("CUDA failure 2: out of memory"))
    assert not is_out_of_memory(RuntimeError("Got invalid dimensions for input: h"))


@without_driver
def test_part_on_a_gpu_that_is_not_there_says_so_and_measures_nothing(tmp_path: Path):
    with pytest.raises(NoGpuError, match="no NVIDIA driver"):
        open_device(True)
    run_part("search", options_of(parsed("--output", str(tmp_path))))
    (line,) = read(tmp_path / "search.jsonl")
    assert isinstance(line, Skipped)
    assert "no NVIDIA driver" in line.why


@without_driver
def test_part_on_a_gpu_that_is_not_there_keeps_the_lines_of_an_earlier_run(tmp_path: Path):
    measured = alone("search/a", "what was measured", [1.0], "ms", "")
    append(tmp_path / "search.jsonl", measured)
    run_part("search", options_of(parsed("--output", str(tmp_path))))
    assert list(read(tmp_path / "search.jsonl")) == [measured]


@without_driver
def test_session_on_a_gpu_that_is_not_there_is_refused_and_does_not_go_on_on_the_cpu():
    graph = Path("service/matchka/gallery/onnx/write.float32.onnx")
    with pytest.raises(NoCudaError):
        open_session(graph, CUDA)
