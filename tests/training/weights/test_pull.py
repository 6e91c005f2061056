"""Weights are pulled from a real server: what is published, given or first seen is checked; code is never run."""

import hashlib
import json
import pickle
import re
import subprocess
from dataclasses import replace
from io import BytesIO, StringIO
from pathlib import Path

import onnx
import pytest
import torch
from pydantic import TypeAdapter
from rich.console import Console
from safetensors.torch import save as save_tensors

from matchka_train.errors import (
    ChecksumError,
    DownloadError,
    LicenceError,
    UnknownWeightsError,
    WeightsAbsentError,
    WeightsFileError,
)
from matchka_train.modalities import AnyBackboneRecipe
from matchka_train.weights.download import RetryPolicy
from matchka_train.weights.hub import HubFile, HubWeights, catalogue, checked_weights, named, place_of, weights_of
from matchka_train.weights.lock_file import HubRecords
from matchka_train.weights.pull import Pull, pull, require_tensors
from tests.factories.graphs import write_graph
from tests.factories.hub_server import Hub, serve

HASTY = RetryPolicy(connect_s=5.0, read_s=0.3, attempts=2, pause_s=0.0)


def checkpoint(value: float = 1.0, legacy: bool = False) -> bytes:
    content = BytesIO()
    state = {"model_config": {"F": 72}, "state_dict": {"weight": torch.full((8, 8), value)}}
    torch.save(state, content, _use_new_zipfile_serialization=not legacy)
    return content.getvalue()


WEIGHTS = checkpoint()


class Evil:
    """Unpickled by a trusting loader, it leaves a proof that code ran."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return (Path.touch, (self.proof,))


def entry(hub: Hub, **known: object) -> HubWeights:
    file = HubFile("model.pt", hub.url, **known)  # type: ignore[arg-type]
    return HubWeights("tiny", "redimnet", "Tiny", (file,), "tests", "r1", "CC-BY-NC-4.0", "No commercial use.")


def how(cache: Path, accept: bool = True, sha256: str | None = None) -> Pull:
    return Pull(cache, lambda _: accept, Console(file=StringIO(), width=1000), sha256, HASTY)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def left(cache: Path) -> set[str]:
    """Files of weights, parts of them included."""
    return {path.name for path in (cache / "hub").rglob("*") if path.is_file() and ".lock" not in path.name}


def test_pull_when_the_checksum_is_published_leaves_weights_that_are_found_by_name(tmp_path):
    with serve(Hub(content=WEIGHTS)) as hub:
        weights = entry(hub, sha256=sha256(WEIGHTS))
        path = pull(weights, how(tmp_path))
    assert path == tmp_path / "hub" / "tiny" / "model.pt"
    assert path.read_bytes() == WEIGHTS
    found, source = checked_weights(weights, tmp_path)
    assert found == path
    assert (source.name, source.source, source.version) == ("Tiny", "tests", "r1")
    assert (source.sha256, source.licence) == (sha256(WEIGHTS), "CC-BY-NC-4.0")
    record = HubRecords(tmp_path / "hub").of("tiny", "model.pt")
    assert record is not None
    assert (record.checked, record.licence, record.size_bytes) == ("published", "CC-BY-NC-4.0", len(WEIGHTS))
    assert left(tmp_path) == {"model.pt"}


def test_pull_when_repeated_asks_neither_the_hub_nor_for_the_licence(tmp_path):
    with serve(Hub(content=WEIGHTS)) as hub:
        weights = entry(hub)
        pull(weights, how(tmp_path))
        pull(weights, how(tmp_path, accept=False))
    assert len(hub.requests) == 1


def test_pull_when_the_licence_is_refused_fetches_nothing(tmp_path):
    with serve(Hub(content=WEIGHTS)) as hub, pytest.raises(LicenceError, match=r"CC-BY-NC-4\.0.*--yes"):
        pull(entry(hub), how(tmp_path, accept=False))
    assert hub.requests == []
    assert left(tmp_path) == set()


@pytest.mark.parametrize("pin", ["sha256", "git_blob", "given"])
def test_pull_when_the_file_is_another_one_keeps_nothing_of_it(tmp_path, pin):
    known = {"sha256": "0" * 64} if pin == "sha256" else {"git_blob": "0" * 40} if pin == "git_blob" else {}
    with serve(Hub(content=WEIGHTS)) as hub:
        weights = entry(hub, **known)
        with pytest.raises(ChecksumError) as caught:
            pull(weights, how(tmp_path, sha256="1" * 64 if pin == "given" else None))
    assert left(tmp_path) == set()
    assert not HubRecords(tmp_path / "hub").path.exists()
    assert caught.value.value is not None
    with pytest.raises(WeightsAbsentError):
        checked_weights(weights, tmp_path)


def test_pull_when_git_names_the_file_takes_the_bytes_of_that_name(tmp_path):
    name = subprocess.run(
        ["git", "hash-object", "--stdin"], input=WEIGHTS, capture_output=True, check=True
    ).stdout.decode()
    with serve(Hub(content=WEIGHTS)) as hub:
        weights = entry(hub, git_blob=name.strip())
        pull(weights, how(tmp_path))
    record = HubRecords(tmp_path / "hub").of("tiny", "model.pt")
    assert record is not None
    assert record.checked == "git"
    assert checked_weights(weights, tmp_path)[1].sha256 == sha256(WEIGHTS)


def test_pull_when_nothing_is_published_trusts_the_first_and_says_so(tmp_path):
    with serve(Hub(content=WEIGHTS)) as hub:
        weights = entry(hub)
        wanted = how(tmp_path)
        pull(weights, wanted)
        said = wanted.console.file.getvalue()
        assert "warning" in said
        assert sha256(WEIGHTS) in said
        assert "weights.lock.json" in said
        # another file under the same address is not taken for it later
        (tmp_path / "hub" / "tiny" / "model.pt").unlink()
        hub.content, hub.etag = checkpoint(2.0), '"two"'
        with pytest.raises(ChecksumError, match=sha256(WEIGHTS)):
            pull(weights, how(tmp_path))
    assert left(tmp_path) == set()


def test_weights_of_when_a_file_changed_after_the_pull_refuses_it(tmp_path):
    with serve(Hub(content=WEIGHTS)) as hub:
        weights = entry(hub)
        path = pull(weights, how(tmp_path))
    path.write_bytes(checkpoint(2.0))
    with pytest.raises(ChecksumError, match=sha256(WEIGHTS)):
        checked_weights(weights, tmp_path)


def test_pull_when_the_user_gives_a_checksum_it_counts_instead_of_the_published_one(tmp_path):
    with serve(Hub(content=WEIGHTS)) as hub:
        weights = entry(hub, sha256="0" * 64, git_blob="0" * 40)
        pull(weights, how(tmp_path, sha256=sha256(WEIGHTS)))
    record = HubRecords(tmp_path / "hub").of("tiny", "model.pt")
    assert record is not None
    assert record.checked == "given"
    assert checked_weights(weights, tmp_path)[1].sha256 == sha256(WEIGHTS)


@pytest.mark.parametrize("form", ["torch", "legacy", "plain"])
def test_pull_when_the_file_is_a_pickle_with_code_runs_none_and_keeps_nothing(tmp_path, form):
    proof = tmp_path / "proof"
    content = BytesIO()
    if form == "plain":
        pickle.dump({"weight": Evil(proof)}, content, protocol=2)  # others are warned of before they are refused
    else:
        torch.save({"weight": Evil(proof)}, content, _use_new_zipfile_serialization=form == "torch")
    with serve(Hub(content=content.getvalue())) as hub, pytest.raises(WeightsFileError):
        pull(entry(hub), how(tmp_path / "cache"))
    assert not proof.exists()
    assert left(tmp_path / "cache") == set()


def graph_of(path: Path, domain: str = "", beside: bool = False) -> bytes:
    """An ONNX file; with an operation of someone's library, or with weights in another file."""
    write_graph(path)
    model = onnx.load(str(path))
    model.graph.node[1].domain = domain
    if domain:
        model.opset_import.append(onnx.helper.make_opsetid(domain, 1))
    if beside:
        onnx.save_model(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
        return path.read_bytes()
    return model.SerializeToString()


def test_pull_of_a_graph_keeps_it(tmp_path):
    content = graph_of(tmp_path / "a.onnx")
    with serve(Hub(content=content)) as hub:
        weights = HubWeights("g", "onnx", "G", (HubFile("g.onnx", hub.url, sha256(content)),), "tests", "r1", "MIT")
        assert pull(weights, how(tmp_path / "cache")).read_bytes() == content


@pytest.mark.parametrize("fault", ["cut", "library", "beside", "page"])
def test_pull_of_a_graph_that_is_none_or_needs_more_than_itself_keeps_nothing(tmp_path, fault):
    content = graph_of(tmp_path / "a.onnx", "someone" if fault == "library" else "", beside=fault == "beside")
    content = {"cut": content[: len(content) // 2], "page": b"<html>sign in</html>"}.get(fault, content)
    with serve(Hub(content=content)) as hub:
        weights = HubWeights("g", "onnx", "G", (HubFile("g.onnx", hub.url),), "tests", "r1", "MIT")
        with pytest.raises(WeightsFileError, match=r"g\.onnx"):
            pull(weights, how(tmp_path / "cache"))
    assert left(tmp_path / "cache") == set()


def test_pull_when_the_body_breaks_off_keeps_it_under_another_name_until_it_is_whole(tmp_path):
    with serve(Hub(content=WEIGHTS * 40, behaviours=["truncate", "404"])) as hub:
        weights = entry(hub, sha256=sha256(WEIGHTS * 40))
        with pytest.raises(DownloadError):
            pull(weights, how(tmp_path))
        assert "model.pt" not in left(tmp_path)
        assert "model.pt.part" in left(tmp_path)


def test_pull_without_a_network_says_where_the_file_belongs_and_takes_it_from_there(tmp_path):
    with serve(Hub(content=WEIGHTS)) as hub:
        weights = entry(hub, sha256=sha256(WEIGHTS))
    with pytest.raises(DownloadError) as caught:  # the server is gone
        pull(weights, how(tmp_path))
    place = re.search(r"as (\S+), and run the same command", caught.value.remedy)
    assert place is not None
    assert hub.url in caught.value.remedy
    Path(place[1]).write_bytes(WEIGHTS)
    with pytest.raises(WeightsAbsentError):  # there, but neither checked nor accepted
        checked_weights(weights, tmp_path)
    assert pull(weights, how(tmp_path)) == Path(place[1])
    assert checked_weights(weights, tmp_path)[0] == Path(place[1])


def test_pull_when_a_file_put_there_by_hand_is_another_one_refuses_it(tmp_path):
    weights = entry(Hub(url="http://127.0.0.1:9/model.pt"), sha256=sha256(WEIGHTS))
    place_of(weights, tmp_path).parent.mkdir(parents=True)
    place_of(weights, tmp_path).write_bytes(checkpoint(2.0))
    with pytest.raises(ChecksumError, match="Delete"):
        pull(weights, how(tmp_path))


def test_pull_when_weights_are_several_files_gives_their_folder(tmp_path):
    tensors = save_tensors({"weight": torch.ones(3)})
    with serve(Hub(content=tensors)) as first, serve(Hub(content=b'{"hidden_size": 8}')) as second:
        files = (HubFile("model.safetensors", first.url), HubFile("config.json", second.url))
        weights = replace(entry(first), files=files)
        assert pull(weights, how(tmp_path)) == tmp_path / "hub" / "tiny"
    folder, source = checked_weights(weights, tmp_path)
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]
    assert source.sha256 == sha256(tensors)
    (folder / "config.json").write_text('{"hidden_size": 9}')
    with pytest.raises(ChecksumError, match=r"config\.json"):
        checked_weights(weights, tmp_path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("model.safetensors", b"\x10\x00\x00\x00\x00\x00\x00\x00not a header"),
        ("config.json", b"<html>"),
        ("model.pt", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 7\n"),
        ("model.pt", b""),
    ],
)
def test_require_tensors_when_the_file_is_of_another_kind_refuses_it(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsFileError, match=name):
        require_tensors(tmp_path / name, name)


def test_require_tensors_when_the_checkpoint_is_old_takes_it(tmp_path):
    (tmp_path / "model.pt").write_bytes(checkpoint(legacy=True))
    require_tensors(tmp_path / "model.pt", "model.pt")


def test_pull_when_the_folder_cannot_be_made_says_so(tmp_path):
    (tmp_path / "hub").write_text("a file where the folder belongs")
    with pytest.raises(DownloadError, match="--downloads-dir"):
        pull(entry(Hub(url="http://127.0.0.1:9/model.pt")), how(tmp_path))


def test_weights_of_when_they_were_not_pulled_names_the_command_and_the_place(tmp_path):
    with pytest.raises(WeightsAbsentError) as caught:
        weights_of("redimnet-b2-vox2-ft_lm", tmp_path)
    said = str(caught.value)
    assert f"matchka-train backbones pull redimnet-b2-vox2-ft_lm --downloads-dir {tmp_path}" in said
    assert str(tmp_path / "hub" / "redimnet-b2-vox2-ft_lm" / "b2-vox2-ft_lm.pt") in said
    assert list(tmp_path.iterdir()) == []  # nothing was downloaded


def test_weights_of_when_the_name_is_unknown_says_how_to_list_them(tmp_path):
    with pytest.raises(UnknownWeightsError, match="backbones list"):
        weights_of("redimnet-b9", tmp_path)


def test_records_when_the_file_is_damaged_trust_nothing(tmp_path):
    with serve(Hub(content=WEIGHTS)) as hub:
        weights = entry(hub)
        pull(weights, how(tmp_path))
    lock = tmp_path / "hub" / "weights.lock.json"
    for damage in ("{", "[]", json.dumps({"tiny": {"model.pt": {"sha256": "0"}}})):
        lock.write_text(damage)
        with pytest.raises(ChecksumError, match=r"weights\.lock\.json"):
            checked_weights(weights, tmp_path)


def test_catalogue_names_every_official_checkpoint_once_and_pins_its_revisions():
    names = [weights.name for weights in catalogue()]
    assert len(set(names)) == len(names)
    # the makers' table of pretrained models
    official = {f"redimnet-b{size}-vox2-{stage}" for size in range(7) for stage in ("ptn", "ft_lm")}
    official |= {f"redimnet-{size}-{stage}" for size in "SM" for stage in ("vb2-ptn", "vb2+vox2+cnc-ft_mix")}
    assert {name for name in names if name.startswith("redimnet")} == official
    for weights in catalogue():
        for file in weights.files:
            assert file.url.startswith("https://")
            assert file.url.endswith(f"/{file.name}")
            assert file.sha256 is None or re.fullmatch("[0-9a-f]{64}", file.sha256)
            assert file.git_blob is None or re.fullmatch("[0-9a-f]{40}", file.git_blob)
            assert file.size_bytes is None or (type(file.size_bytes) is int and file.size_bytes > 0)
            assert weights.version == "latest" or (
                re.fullmatch("[0-9a-f]{40}", weights.version) and weights.version in file.url
            )
        texts = (weights.name, weights.kind, weights.title, weights.source, weights.licence, weights.terms)
        assert all(isinstance(text, str) and text == text.strip() for text in texts)
        assert weights.parameters is None or type(weights.parameters) is int
        assert TypeAdapter(AnyBackboneRecipe).validate_python(weights.recipe).weights == weights.name
    assert "NC" in named("redimnet-M-vb2-ptn").licence
    assert named("redimnet-M-vb2-ptn").terms
    assert named("redimnet-b2-vox2-ft_lm").licence == "MIT"
