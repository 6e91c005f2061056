"""Several processes give what one gives, and leave a cache that any later run can use, however they end."""

import hashlib
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from matchka_train.datasets.sample import Sample
from matchka_train.errors import DeviceError, DiskFullError, WorkerLostError
from matchka_train.features.compute import Compute, Device, available_cores, compute_of
from matchka_train.features.embedding import Embedder, embed_windows
from matchka_train.features.extraction import extract_features
from matchka_train.features.processes import map_in_processes
from matchka_train.modalities.acoustics.environment import open_environment
from matchka_train.modalities.augmentation import AugmentationRecipe, View
from tests.factories.slow_backbone import SlowBackbone
from tests.factories.sound_corpora import write_musan, write_rirs_noises
from tests.factories.tiny_backbone import TinyBackbone
from tests.factories.voice_folders import write_voices

LIMITS = {"max_duration_s": 60, "min_speech_s": 0.1}
PRELOAD = "matchka_train.features.embedding"
ROOT = Path(__file__).parents[3]
DEADLINE_S = 60.0
LETHAL, FULL = 13, 14


@pytest.fixture
def samples(tmp_path, monkeypatch):
    monkeypatch.setattr("matchka_train.features.embedding.SHARD_SAMPLES", 4)
    write_voices(tmp_path / "clips", range(4), 10, seconds=0.5)
    return clips_below(tmp_path)


def clips_below(folder: Path) -> list[Sample]:
    return [Sample(path, f"c/{path.parent.name}", "d") for path in sorted((folder / "clips").rglob("*.wav"))]


def extract(samples, cache, quiet, workers=1, backbone=None, view=None):
    network, compute = backbone or TinyBackbone(), Compute(workers)
    return extract_features(samples, network, cache, quiet, LIMITS, view, compute=compute)


def shards_in(cache: Path) -> set[Path]:
    return {index.parent for index in cache.glob("*/shards/*/index.json")}


def wait_until(condition) -> None:
    end = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


class Squares:
    """Squares numbers; one ends the process, and for one there is no space."""

    def open(self):
        return square


def square(number: int) -> int:
    if number == LETHAL:
        os._exit(9)
    if number == FULL:
        raise DiskFullError("No space is left.", value=number, remedy="Free some.")
    return number**2


class Remembered:
    """Counts in each process what it was called for."""

    def open(self):
        seen = []
        return lambda number: (os.getpid(), seen.append(number), len(seen), torch.get_num_threads())


@pytest.mark.slow
def test_extract_features_in_several_processes_equals_one_bit_for_bit(samples, tmp_path, quiet):
    one = extract(samples, tmp_path / "one", quiet)
    several = extract(samples, tmp_path / "several", quiet, workers=3)
    assert np.array_equal(one.windows, several.windows)
    assert np.array_equal(one.window_counts, several.window_counts)
    assert one.paths == several.paths
    assert not shards_in(tmp_path / "several")  # joined, and dropped


@pytest.mark.slow
def test_extract_features_of_noisy_views_depends_on_no_order_and_no_number_of_processes(samples, tmp_path, quiet):
    stated = {"layout": "musan", "path": write_musan(tmp_path / "musan"), "name": "m", "source": "s", "licence": "l"}
    noise = {"folders": [stated | {"snr_db": {"noise": (0, 9), "music": (0, 9), "babble": (0, 9)}}]}
    rooms = {"folders": [stated | {"layout": "rirs_noises", "path": write_rirs_noises(tmp_path / "RIRS_NOISES")}]}
    recipe = AugmentationRecipe(views=1, crop_s=0.4, recorded_noise=noise, rooms=rooms)
    view = View(1, 0, recipe, open_environment(recipe.recorded_noise, recipe.rooms, quiet))
    one = extract(samples, tmp_path / "one", quiet, view=view)
    several = extract(samples[::-1], tmp_path / "several", quiet, workers=3, view=view)
    for number, windows in enumerate(np.split(one.windows, np.cumsum(one.window_counts)[:-1])):
        behind = int(several.window_counts[: len(samples) - 1 - number].sum())
        # clips of other shards stand beside them in a batch
        assert np.allclose(windows, several.windows[behind : behind + len(windows)], atol=1e-6)
    again = extract(samples, tmp_path / "again", quiet, workers=3, view=view)
    assert np.array_equal(one.windows, again.windows)


@pytest.mark.slow
def test_map_in_processes_opens_once_in_each_and_runs_one_thread():
    found = list(map_in_processes(Remembered(), range(12), 2, PRELOAD))
    assert len(found) == 12
    for process in {entry[0] for entry in found}:
        counts = sorted(count for pid, _, count, _ in found if pid == process)
        assert counts == list(range(1, len(counts) + 1))
    assert {threads for *_, threads in found} == {1}


@pytest.mark.slow
def test_map_in_processes_when_one_is_ended_from_outside_says_so():
    assert sorted(map_in_processes(Squares(), range(5), 2, PRELOAD)) == [0, 1, 4, 9, 16]
    with pytest.raises(WorkerLostError, match="fewer --workers"):
        list(map_in_processes(Squares(), [1, LETHAL, 2], 2, PRELOAD))


@pytest.mark.slow
def test_map_in_processes_when_the_function_fails_raises_its_error_whole():
    with pytest.raises(DiskFullError) as caught:
        list(map_in_processes(Squares(), [1, FULL, 2], 2, PRELOAD))
    assert str(caught.value) == "No space is left. (got '14') Free some."


COMMAND = """
import sys
from pathlib import Path
from matchka_train.progress import show_progress
from matchka_train.features import embedding
from tests.factories.slow_backbone import SlowBackbone
from tests.training.features.test_parallel import clips_below, extract
embedding.SHARD_SAMPLES = 2
with show_progress() as progress:
    backbone = SlowBackbone(delay_s=float(sys.argv[3]))
    found = extract(clips_below(Path(sys.argv[1])), Path(sys.argv[2]), progress, 2, backbone)
print(len(found.subjects))
"""


def start(folder: Path, cache: Path, delay_s: float) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, folder, cache, str(delay_s)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )


@pytest.mark.slow
def test_extract_features_when_killed_loses_only_shards_in_hand_and_its_processes_end(samples, tmp_path, quiet):
    cache = tmp_path / "cache"
    with start(tmp_path, cache, delay_s=1.0) as killed:  # time to be killed in
        wait_until(lambda: len(shards_in(cache)) >= 3)
        processes = descendants(killed.pid)
        assert len(processes) >= 2
        killed.send_signal(signal.SIGKILL)
    wait_until(lambda: not any(is_running(process) for process in processes))
    kept = shards_in(cache)
    before = {path: (path / "windows.npy").stat().st_mtime_ns for path in kept}
    assert len(kept) >= 3
    backbone = SlowBackbone(delay_s=0.0)
    found = extract(samples, cache, quiet, backbone=backbone)
    assert sum(backbone.seen) - 2 == len(found.windows) - len(before) * 2 * windows_each(found)
    assert np.allclose(found.windows, extract(samples, tmp_path / "other", quiet).windows, atol=1e-6)


@pytest.mark.slow
def test_extract_features_of_two_commands_at_once_gives_both_the_same(samples, tmp_path, quiet):
    cache = tmp_path / "cache"
    with start(tmp_path, cache, 0.0) as first, start(tmp_path, cache, 0.0) as second:
        outputs = [command.communicate(timeout=DEADLINE_S)[0] for command in (first, second)]
    assert outputs == [f"{len(samples)}\n"] * 2
    backbone = SlowBackbone()
    found = extract(samples, cache, quiet, backbone=backbone)
    assert backbone.seen == [2]
    assert np.allclose(found.windows, extract(samples, tmp_path / "other", quiet).windows, atol=1e-6)


def windows_each(found) -> int:
    (count,) = set(found.window_counts.tolist())
    return count


def descendants(pid: int) -> set[int]:
    parents = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(entry.parent.name)] = int(fields[1])
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {pid}


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_extract_features_when_a_shard_was_cut_short_embeds_it_again(samples, tmp_path, quiet):
    whole = np.array(extract(samples, tmp_path / "other", quiet).windows)
    leave_shards(samples, tmp_path / "cache", quiet)
    first, second, third, *others = sorted(shards_in(tmp_path / "cache"))
    os.truncate(first / "windows.npy", 300)
    os.truncate(second / "index.json", 40)
    content = bytearray((third / "windows.npy").read_bytes())
    content[-3] ^= 0xFF
    (third / "windows.npy").write_bytes(content)
    backbone = SlowBackbone(delay_s=0.0)
    found = extract(samples, tmp_path / "cache", quiet, backbone=backbone)
    assert np.allclose(found.windows, whole, atol=1e-6)
    # two shards of four clips, and the one clip whose rows were altered
    assert sum(backbone.seen) - 2 == 9 * windows_each(found)
    assert len(others) == 7
    assert not shards_in(tmp_path / "cache")


def test_extract_features_of_another_list_uses_shards_an_interrupted_run_left(samples, tmp_path, quiet):
    leave_shards(samples, tmp_path / "cache", quiet)
    backbone = SlowBackbone(delay_s=0.0)
    found = extract(samples[::-1][:30], tmp_path / "cache", quiet, backbone=backbone)
    assert backbone.seen == [2]
    expected = extract(samples[::-1][:30], tmp_path / "other", quiet)
    assert np.allclose(found.windows, expected.windows, atol=1e-6)
    assert len(shards_in(tmp_path / "cache")) == 3  # hold clips that are in no list yet: 0-3, 4-7, 8-11


def test_extract_features_when_files_may_not_grow_names_the_disk_and_goes_on_later(samples, tmp_path, quiet):
    leave_shards(samples, tmp_path / "cache", quiet)
    assert len(shards_in(tmp_path / "cache")) == 10
    backbone = SlowBackbone(delay_s=0.0)
    found = extract(samples, tmp_path / "cache", quiet, backbone=backbone)
    assert backbone.seen == [2]
    assert np.array_equal(found.windows, extract(samples, tmp_path / "other", quiet).windows)


def leave_shards(samples, cache, quiet) -> None:
    """What a run leaves whose shards fit on the disk, and the list of them all does not."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, limits[1]))
    try:
        with pytest.raises(DiskFullError, match="is kept and will be used again"):
            extract(samples, cache, quiet)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.slow
@pytest.mark.usefixtures("samples")
def test_extract_features_of_a_script_without_a_main_guard_ends_with_the_remedy(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(COMMAND)
    arguments = [sys.executable, str(script), str(tmp_path), str(tmp_path / "cache"), "0"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    done = subprocess.run(arguments, env=environment, capture_output=True, text=True, check=False, timeout=DEADLINE_S)
    assert done.returncode == 1
    assert "MainModuleError" in done.stderr
    assert '`if __name__ == "__main__":`' in done.stderr
    assert "WorkerLostError" in done.stderr.splitlines()[-1]


class SmallMemory(torch.nn.Module):
    """A network on a GPU that holds so many rows; torch has a class for that, its libraries only words."""

    def __init__(self, most: int, error: RuntimeError | None = None) -> None:
        super().__init__()
        self.most, self.seen = most, []
        self.error = error or torch.OutOfMemoryError("CUDA out of memory")

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        self.seen.append(len(rows))
        if len(rows) > self.most:
            raise self.error
        return rows * 2


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
    ],
    ids=["torch", "cublas", "cudnn"],
)
def test_embed_windows_when_memory_runs_out_takes_smaller_batches_then_says_so(error: RuntimeError):
    rows = np.arange(140, dtype=np.float32).reshape(70, 2)
    network = SmallMemory(20, error)
    assert np.array_equal(embed_windows(network, rows), rows * 2)
    assert network.seen == [64, 32, 16, 16, 16, 16, 6]
    with pytest.raises(DeviceError, match="one window"):
        embed_windows(SmallMemory(0, error), rows)


def test_embed_windows_hands_on_an_error_that_is_none_of_memory():
    network = SmallMemory(20, RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        embed_windows(network, np.zeros((30, 2), np.float32))
    assert network.seen == [30]


class Drawn:
    """As many random windows of each sample as its part says; counts those that were read."""

    def __init__(self) -> None:
        self.read: list[int] = []

    def rows(self, _data, sample, _sha256):
        self.read.append(sample.part)
        return np.random.default_rng(sample.part).standard_normal((sample.part, 5)).astype(np.float32)


def test_embedder_of_long_clips_holds_few_windows_and_runs_the_batches_of_the_whole_shard(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"a")
    sha256 = hashlib.sha256(b"a").hexdigest()
    lengths = [300, 7, 261, 512, 1, 64, 640, 90, 33, 500]
    network, reader, held, batches = torch.nn.Linear(5, 3).eval(), Drawn(), [], []
    network.register_forward_pre_hook(lambda _module, inputs: batches.append(inputs[0].numpy().copy()))
    network.register_forward_pre_hook(lambda *_: held.append(sum(reader.read) - sum(map(len, batches[:-1]))))
    shard = [((sha256, part, 1000), Sample(path, "c/0", "d", part, 1000)) for part in lengths]
    found = Embedder(network, reader, Device.CPU).rows(shard)
    windows = np.concatenate([Drawn().rows(b"", sample, "") for _, sample in shard])
    expected = embed_windows(network, windows)
    assert [len(rows) for rows in found] == lengths
    assert np.array_equal(np.concatenate(found), expected)
    of_shard = len(batches) // 2  # the second half are those of the expectation
    assert all(np.array_equal(one, other) for one, other in zip(batches[:of_shard], batches[of_shard:], strict=True))
    assert max(held[:of_shard]) < 512 + max(lengths)


def test_compute_of_takes_the_cores_there_are_and_describes_only_other_numbers():
    assert compute_of(None, Device.CPU) == Compute(available_cores(), Device.CPU)
    assert compute_of(3, Device.CPU).describe() == {}
    assert Compute(3, Device.CUDA).describe() == {"precision": "cuda float16, front ends in 32 bits"}


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_compute_of_without_a_gpu_falls_back_where_it_may_and_says_so_where_not():
    assert compute_of(1, Device.AUTO).device == Device.CPU
    with pytest.raises(DeviceError, match="--device cpu"):
        compute_of(1, Device.CUDA)
