"""What a task of a recipe computes with: no option is ignored."""

import pytest

from matchka_train.cli.tasks import TRAINING_TASKS
from matchka_train.errors import OptionError
from matchka_train.features.compute import Compute, Device


@pytest.mark.parametrize("name", ["phonemes", "enhancer"])
def test_compute_of_a_task_without_a_choice_takes_one_process_on_the_cpu_only(name: str) -> None:
    task = TRAINING_TASKS[name]
    assert task.compute(None, Device.CPU) == task.compute(1, Device.CPU) == Compute(1, Device.CPU)
    with pytest.raises(OptionError, match=rf"{name} computes in one process.*--workers 3"):
        task.compute(3, Device.CPU)
    for device in (Device.AUTO, Device.CUDA):
        with pytest.raises(OptionError, match=f"--device {device}"):
            task.compute(None, device)


def test_compute_of_embeddings_takes_what_is_asked_for() -> None:
    assert TRAINING_TASKS["embedding"].compute(3, Device.CPU) == Compute(3, Device.CPU)
