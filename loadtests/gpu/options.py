"""What is measured, and how large: one set of options for the whole run and for each of its parts."""

import argparse
from dataclasses import dataclass
from pathlib import Path

MILLION = 1_000_000


@dataclass(frozen=True)
class Options:
    """Options of a run.

    Attributes:
        device: `cuda`, or `cpu`: then the same code measures the CPU, and rows that need CUDA are left out and say so.
        models: folder of bundles.
        clip: that is embedded and identified by the service.
        output: folder of results.
        subjects: sizes of the galleries that are searched.
        dims: components of their rows.
        queries: of one search together.
        shard_rows: rows that ONNX Runtime searches at once.
        batches: rows of a run of a model.
        workers: runs of a model at the same time.
        http_subjects: that the service identifies among.
        turns: repeats; figures are medians.
        seconds: of a model's runs in one turn.
        keep: whether lines of earlier runs stay until they are measured anew.
    """

    device: str
    models: Path
    clip: Path
    output: Path
    subjects: tuple[int, ...]
    dims: tuple[int, ...]
    queries: tuple[int, ...]
    shard_rows: tuple[int, ...]
    batches: tuple[int, ...]
    workers: tuple[int, ...]
    http_subjects: int
    turns: int
    seconds: float
    keep: bool

    @property
    def is_cuda(self) -> bool:
        """Whether a GPU is measured."""
        return self.device == "cuda"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add all of them to a parser."""
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--models", type=Path, default=Path("models"))
    parser.add_argument("--clip", type=Path, default=Path("build/samples/voice/cards/001.wav"))
    parser.add_argument("--output", type=Path, default=Path("build/gpu"))
    numbers = {
        "--subjects": (MILLION, 10 * MILLION),
        "--dims": (64, 256),
        "--queries": (1, 16, 256),
        "--shard-rows": (65_536, 1_048_576),
        "--batches": (1, 2, 4, 8, 16, 32, 64, 128, 256),
        "--workers": (1, 2, 4),
    }
    for name, default in numbers.items():
        parser.add_argument(name, type=int, nargs="+", default=default)
    parser.add_argument("--http-subjects", type=int, default=10 * MILLION)
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--keep", action="store_true", help="lines of earlier runs stay until they are measured anew")


def options_of(arguments: argparse.Namespace) -> Options:
    """The options that were given."""
    values = {name: getattr(arguments, name) for name in Options.__dataclass_fields__}
    return Options(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})


def as_arguments(options: Options) -> list[str]:
    """Options as they are written on a command line."""
    words: list[str] = []
    for name in Options.__dataclass_fields__:
        value = getattr(options, name)
        if isinstance(value, bool):
            words += [f"--{name}"] * value
            continue
        words += [f"--{name.replace('_', '-')}", *map(str, value if isinstance(value, tuple) else (value,))]
    return words
