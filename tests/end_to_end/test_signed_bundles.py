"""A service that trusts a key serves what that key signed, and ends by name at anything else."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.factories.bundles import edit_bundle, write_bundle, write_fusion
from tests.factories.checkout import run_export
from tests.factories.samples import sample
from tests.factories.server_process import start, stop

START_S = 120
NAMES = ("voice", "face", "voice+face")


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where `release.key` and `release.pub` are."""
    folder = tmp_path_factory.mktemp("keys")
    run_export("keygen", str(folder / "release"))
    return folder


@pytest.fixture
def models(tmp_path: Path, keys: Path) -> Path:
    """Two bundles that take clips, and their fusion, all of them signed."""
    folder = tmp_path / "models"
    for name in NAMES[:2]:
        write_bundle(folder / name, name)
    write_fusion(folder / NAMES[2])
    run_export("sign", *[str(folder / name) for name in NAMES], "--key", str(keys / "release.key"))
    return folder


def trusting(keys: Path) -> dict[str, str]:
    return {"MATCHKA_TRUSTED_BUNDLE_KEYS": (keys / "release.pub").read_text().strip()}


def require_answer(models: Path, data_dir: Path, variables: dict[str, str]) -> None:
    server = start(models, data_dir, None, True, variables)
    try:
        client = server.client()
        for name in NAMES[:2]:
            client.enroll("ada", [sample(1)], name)
        assert client.verify("ada", sample(1), model="voice").match
        assert client.verify_jointly("ada", sample(1, 5), sample(1, 6)).parts.keys() == {"voice", "face"}
    finally:
        assert stop(server.process) == 0


def refusal(models: Path, data_dir: Path, variables: dict[str, str]) -> str:
    """What a server says that does not start."""
    server = start(models, data_dir, None, False, variables)
    assert server.process.wait(START_S) == 2
    said = " ".join(server.log.read_text().split())
    assert "Traceback" not in said
    return said


def test_signed_bundles_and_fusion_are_served_by_a_service_that_trusts_the_key(
    models: Path, keys: Path, tmp_path: Path
):
    require_answer(models, tmp_path / "data", trusting(keys))


def test_unsigned_and_signed_bundles_are_served_by_a_service_that_trusts_no_key(models: Path, tmp_path: Path):
    (models / "voice" / "signature.json").unlink()
    require_answer(models, tmp_path / "data", {})


def unsign(folder: Path) -> None:
    (folder / "signature.json").unlink()


def lower_thresholds(folder: Path) -> None:
    text = (folder / "manifest.json").read_text()
    (folder / "manifest.json").write_text(text.replace('"threshold": 0.97', '"threshold": 0.81'))


def lower_thresholds_and_digest(folder: Path) -> None:
    point = {"fmr": 0.001, "threshold": -0.9, "measured": True}
    edit_bundle(
        folder,
        lambda manifest: [
            dim["operating_points"].update({"1": [point]})
            for dim in manifest["outputs"]["embeddings"]["per_dim"].values()
        ],
    )


def link(folder: Path) -> None:
    (folder / "model.onnx").rename(folder.parent / "model.onnx")
    (folder / "model.onnx").symlink_to(folder.parent / "model.onnx")


ATTACKS: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "an unsigned bundle": ("voice", unsign, "models/voice has no signature"),
    "an unsigned fusion": ("voice+face", unsign, "models/voice+face has no signature"),
    "an edited manifest": ("voice", lower_thresholds, "models/voice/manifest.json was edited"),
    "an edited manifest and its digest": ("voice", lower_thresholds_and_digest, "models/voice is of other content"),
    "an edited fusion and its digest": (
        "voice+face",
        lambda folder: write_fusion(folder, offset=9.0),
        "models/voice+face is of other content",
    ),
    "a fusion without a digest": (
        "voice+face",
        lambda folder: write_fusion(folder, has_digest=False),
        "no content digest",
    ),
    "a link": ("voice", link, "models/voice holds symbolic links"),
}


@pytest.mark.parametrize(("name", "attack", "said"), ATTACKS.values(), ids=ATTACKS.keys())
def test_service_that_trusts_a_key_ends_at(
    models: Path, keys: Path, tmp_path: Path, name: str, attack: Callable[[Path], object], said: str
):
    attack(models / name)
    assert said in refusal(models, tmp_path / "data", trusting(keys))
    assert not (tmp_path / "data").exists()  # nothing was opened before everything was checked


@pytest.mark.parametrize("name", ["an edited manifest", "a link"])
def test_service_that_trusts_no_key_ends_at_what_is_not_whole_as_well(models: Path, tmp_path: Path, name: str):
    folder, attack, said = ATTACKS[name]
    attack(models / folder)
    assert said in refusal(models, tmp_path / "data", {})


def test_service_with_a_trusted_key_that_is_none_ends_and_names_the_setting(models: Path, tmp_path: Path):
    for value in ("release.pub", ","):
        said = refusal(models, tmp_path / "data", {"MATCHKA_TRUSTED_BUNDLE_KEYS": value})
        assert "MATCHKA_TRUSTED_BUNDLE_KEYS" in said
        assert "matchka-export keygen" in said
