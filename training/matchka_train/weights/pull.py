"""Pulling published weights: the licence is accepted first, then fetched, checked, looked into, recorded."""

import json
import pickle
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import onnx
import torch
from filelock import FileLock
from google.protobuf.message import DecodeError
from onnx import TensorProto
from rich.console import Console
from safetensors import SafetensorError, safe_open

from matchka.errors import MatchkaError
from matchka.runtime.atomic_file import put_in_place
from matchka_train.errors import DownloadError, LicenceError, WeightsFileError
from matchka_train.progress import show_download
from matchka_train.weights.download import RetryPolicy, discard, fetch_file
from matchka_train.weights.hub import (
    HUB_FOLDER,
    Checksums,
    HubFile,
    HubWeights,
    by_hand,
    checksums,
    path_of,
    place_of,
    require_same,
)
from matchka_train.weights.lock_file import HubRecord, HubRecords, now

RETRY_POLICY: Final = RetryPolicy()
STANDARD_DOMAINS: Final = frozenset({"", "ai.onnx"})
# what the readers raise on a file of another kind, or one that holds code
_NOT_WEIGHTS: Final = (
    pickle.UnpicklingError,
    SafetensorError,
    DecodeError,
    onnx.checker.ValidationError,
    ValueError,
    RuntimeError,
    EOFError,
    OSError,
)
Accept = Callable[[HubWeights], bool]


@dataclass(frozen=True)
class Pull:
    """How weights are pulled.

    Attributes:
        cache_dir: made if absent.
        accept: shows the licence and says whether it is accepted; asked once for each set of weights.
        console: where warnings and the progress bar go.
        sha256: what the file with the parameters must have, where the user knows better than the catalogue.
        retry_policy: how long a hub is waited for.
        accept_option: what accepts the licence on the command line.
    """

    cache_dir: Path
    accept: Accept
    console: Console
    sha256: str | None = None
    retry_policy: RetryPolicy = RETRY_POLICY
    accept_option: str = "--yes"


def pull(weights: HubWeights, how: Pull) -> Path:
    """Fetch what is not there, check all of it, and record it; files put there by hand are checked and recorded too.

    Args:
        weights: of the catalogue.
        how: cache, licence, checksum.

    Returns: the file, or the folder where the weights are several files.

    Raises:
        LicenceError: the licence was not accepted; nothing was fetched.
        DownloadError: the hub cannot be reached; the remedy says where to put the files by hand.
        ChecksumError: a file is not the one that was published, given or pulled first; it is not kept.
        WeightsFileError: a file holds more than tensors, or none; it is not kept.
    """
    folder = how.cache_dir / HUB_FOLDER / weights.name
    _make(folder)
    records = HubRecords(how.cache_dir / HUB_FOLDER)
    with FileLock(folder.with_name(f"{folder.name}.lock")):
        if any(records.of(weights.name, file.name) is None for file in weights.files) and not how.accept(weights):
            raise LicenceError(
                f"The licence of {weights.name} was not accepted, and nothing was fetched.",
                value=weights.licence,
                remedy=f"Read it, and give {how.accept_option} if you accept it.",
            )
        for number, file in enumerate(weights.files):
            _pull_one(weights, file, how, records, how.sha256 if number == 0 else None)
    return place_of(weights, how.cache_dir)


def _pull_one(weights: HubWeights, file: HubFile, how: Pull, records: HubRecords, given: str | None) -> None:
    """One file: what is there is checked; what is not is fetched into a part, which gets its name once it is right."""
    target = path_of(weights, file, how.cache_dir)
    record = records.of(weights.name, file.name)
    expected = given or (None if record is None else record.sha256)
    if target.is_file():
        found = _checked(target, file, expected)
    else:
        part = target.with_name(f"{target.name}.part")
        _fetch(weights, file, part, how)
        try:
            found = _checked(part, file, expected)
        except MatchkaError:
            discard(part)
            raise
        put_in_place(part, target)
    if record is not None and record.sha256 == found.sha256:
        return
    checked = _compared_with(file, given)
    if checked == "nothing":
        how.console.print(
            f"[bold yellow]warning:[/] no checksum of {file.name} is published. This first one is trusted: sha256 "
            f"{found.sha256}, recorded in {records.path}; every later use is checked against it. Compare it with what "
            "others have, or give --sha256.",
            highlight=False,
        )
    records.keep(
        weights.name,
        file.name,
        HubRecord(found.sha256, found.size_bytes, file.url, checked, weights.licence, now()),
    )


def _checked(path: Path, file: HubFile, expected: str | None) -> Checksums:
    found = checksums(path)
    require_same(path, file, found, expected)
    require_tensors(path, file.name)
    return found


def _compared_with(file: HubFile, given: str | None) -> str:
    if given is not None:
        return "given"
    if file.sha256 is not None:
        return "published"
    return "nothing" if file.git_blob is None else "git"


def _fetch(weights: HubWeights, file: HubFile, part: Path, how: Pull) -> None:
    with show_download(how.console) as progress:
        task = progress.add_task(f"Fetching {file.name}", total=file.size_bytes)

        def show(have: int, total: int | None) -> None:
            progress.update(task, completed=have, total=total or file.size_bytes)

        try:
            fetch_file(file.url, part, how.retry_policy, show)
        except DownloadError as error:
            remedy = f"{error.remedy} Check the network (HTTPS_PROXY); {by_hand(weights, how.cache_dir)}."
            raise DownloadError(error.detail, value=error.value, remedy=remedy) from error
        except OSError as error:
            raise _unwritable(part.parent, error) from error


def require_tensors(path: Path, name: str) -> None:
    """Refuse a file that holds more than tensors and plain values, before anything of it is used.

    Nothing in a pickle is executed: it is read with tensors allowed and nothing else. A graph consists of standard
    operations with the weights inside: neither files beside it nor libraries of others are opened for it.

    Args:
        path: the file.
        name: under which it will be loaded; its ending says what it must be.

    Raises: WeightsFileError: code in a pickle, or a file of another kind.
    """
    try:
        if name.endswith(".safetensors"):
            with safe_open(path, framework="pt") as file:
                list(file.keys())
        elif name.endswith(".json"):
            json.loads(path.read_text(encoding="utf-8"))
        elif name.endswith(".onnx"):
            _require_graph(path)
        else:
            # tensors stay on disk where the format allows it: some are larger than a laptop's memory likes
            torch.load(path, map_location="meta", weights_only=True, mmap=zipfile.is_zipfile(path))
    except _NOT_WEIGHTS as error:
        raise WeightsFileError(
            f"{name} is no file of weights alone; nothing of it was executed.",
            value=error,
            remedy="Do not load it by other means; ask its makers.",
        ) from error


def _require_graph(path: Path) -> None:
    graph_file = onnx.load(str(path), load_external_data=False)
    onnx.checker.check_model(graph_file)
    domains = {node.domain for node in graph_file.graph.node} - STANDARD_DOMAINS
    if domains:
        raise ValueError(f"operations of {', '.join(sorted(domains))}")
    outside = [tensor.name for tensor in graph_file.graph.initializer if tensor.data_location == TensorProto.EXTERNAL]
    if outside:
        raise ValueError(f"the weights {outside[0]} lie in another file")


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(folder, error) from error


def _unwritable(folder: Path, error: OSError) -> DownloadError:
    return DownloadError(f"The folder {folder} cannot be written.", value=error, remedy=_OTHER_FOLDER)


_OTHER_FOLDER: Final = "Free space, or name another folder with --downloads-dir."
