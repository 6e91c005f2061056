"""What is shown where nobody watches: lines, not bars."""

import io
import subprocess
import sys
from math import inf
from pathlib import Path

import pytest
from rich.console import Console

from matchka_train.progress import LineProgress, show_download, show_progress


def written(every_s: float, terminal: bool = False) -> tuple[io.StringIO, LineProgress]:
    out = io.StringIO()
    return out, LineProgress(Console(file=out, force_terminal=terminal, width=40), every_s)


def test_line_progress_when_a_line_is_due_counts_steps_and_says_what_is_left():
    out, progress = written(every_s=0)
    with progress:
        task = progress.add_task("embedding samples", total=2500)
        progress.update(task, completed=1280)
    assert out.getvalue().startswith("embedding samples: 1280 of 2500")
    assert len(out.getvalue().splitlines()) == 1  # not wrapped at the width of a terminal that is not there


def test_line_progress_when_no_line_is_due_writes_only_what_it_is_told():
    out, progress = written(every_s=inf)
    with progress:
        task = progress.add_task("linear", total=3)
        for epoch in range(4):
            progress.update(task, completed=epoch, line=f"epoch {epoch}, [loss] {0.5 / (epoch + 1):.4f}")
            progress.update(task, completed=epoch)
        assert list(progress.track(range(5), description="hashing files")) == [0, 1, 2, 3, 4]
    lines = [f"linear: epoch {epoch}, [loss] {0.5 / (epoch + 1):.4f}" for epoch in range(4)]
    assert out.getvalue().splitlines() == lines


def test_line_progress_with_much_left_says_so_behind_what_it_is_told():
    now = [0.0]
    out = io.StringIO()
    progress = LineProgress(Console(file=out), every_s=30)
    progress.get_time = lambda: now[0]
    with progress:
        task = progress.add_task("linear", total=10)
        for step in range(1, 41):
            now[0] = 4.0 * step
            progress.update(task, completed=step / 4)  # 16 s an epoch
            if step in (20, 36):
                progress.update(task, completed=step // 4, line=f"epoch {step // 4}, loss 0.5")
    lines = out.getvalue().splitlines()
    assert lines[:2] == ["linear: 2 of 10, 0:02:08 left", "linear: 4 of 10, 0:01:36 left"]
    assert "linear: epoch 5, loss 0.5, 0:01:20 left" in lines
    assert "linear: epoch 9, loss 0.5" in lines  # 16 s


def test_line_progress_of_a_task_of_one_step_announces_it():
    out, progress = written(every_s=inf)
    with progress:
        progress.advance(progress.add_task("exporting the graph", total=1))
    assert out.getvalue() == "exporting the graph: begun\n"


@pytest.mark.parametrize("show", [show_progress, show_download])
def test_show_when_the_output_is_a_terminal_shows_bars(show):
    out = io.StringIO()
    with show(Console(file=out, force_terminal=True, width=100)) as progress:
        progress.update(progress.add_task("linear", total=2), completed=2, line="epoch 2")
    assert "━" in out.getvalue()
    assert "epoch 2" not in out.getvalue()


@pytest.mark.slow
def test_run_when_its_output_is_a_file_writes_a_line_for_every_epoch(recipe_path: Path, tmp_path: Path):
    log = tmp_path / "log"
    with log.open("w") as file:
        call = [sys.executable, "-m", "matchka_train", "run", str(recipe_path), "optimisation.epochs=3"]
        subprocess.run(
            [*call, "shuffled_labels=false"], stderr=file, stdout=subprocess.DEVNULL, check=True, timeout=300
        )
    lines = [line for line in log.read_text().splitlines() if "epoch" in line]
    assert [line.split(",")[0].split(": ")[1] for line in lines] == [f"epoch {number}" for number in range(4)]
    assert "loss" not in lines[0]
    assert all("loss" in line and "worst domain at" in line for line in lines[1:])
    assert "━" not in log.read_text()
