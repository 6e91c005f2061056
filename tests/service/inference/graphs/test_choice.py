"""Which graph runs, on CPUs that were made up and on this one."""

import logging
from pathlib import Path

import numpy as np
import pytest

from matchka.bundles.bundle import Bundle, read_bundle
from matchka.errors import BundleError
from matchka.inference.graphs.choice import Machine, candidates
from matchka.inference.model import open_model
from tests.factories.bundles import edit_bundle, write_bundle
from tests.factories.small_server import serving, small_settings
from tests.factories.variants import EXAMPLES, VARIANT, sha256_of, write_variant_bundle

VNNI = ("avx512_vnni", "avx_vnni")
OWN = "model.onnx"
NOBODY_HAS = ("a_feature_of_no_cpu",)


def files_for(bundle: Bundle, machine: Machine) -> list[str]:
    return [candidate.file for candidate in candidates(bundle.manifest, machine)]


@pytest.mark.parametrize(
    ("machine", "expected"),
    [
        (Machine(frozenset({"avx2", "avx512_vnni"})), [VARIANT, OWN]),
        (Machine(frozenset({"avx2", "avx_vnni"})), [VARIANT, OWN]),
        (Machine(frozenset({"sse2", "avx2"})), [OWN]),
        (Machine(frozenset({"sse2"})), [OWN]),
        (Machine(frozenset()), [OWN]),
        (Machine(frozenset({"avx_vnni"}), use_gpu=True), [OWN]),
        (Machine(frozenset({"avx_vnni"}), only_float=True), [OWN]),
    ],
    ids=["server", "laptop", "without VNNI", "without AVX2", "unknown", "GPU", "float wanted"],
)
def test_candidates_are_the_variants_that_suit_the_machine_before_the_own_graph(
    machine: Machine, expected: list[str], tmp_path: Path
) -> None:
    assert files_for(read_bundle(write_variant_bundle(tmp_path / "voice", VNNI)), machine) == expected


def test_candidates_of_a_bundle_with_its_own_graph_alone_are_that_one(tmp_path: Path) -> None:
    assert files_for(read_bundle(write_bundle(tmp_path / "voice")), Machine(frozenset({"avx_vnni"}))) == [OWN]


def test_candidates_of_a_bundle_with_a_variant_alone_are_that_one(tmp_path: Path) -> None:
    bundle = read_bundle(write_variant_bundle(tmp_path / "voice", VNNI, own=False))
    assert files_for(bundle, Machine(frozenset({"avx_vnni"}))) == [VARIANT]


@pytest.mark.parametrize("machine", [Machine(frozenset({"avx2"})), Machine(frozenset(VNNI), only_float=True)])
def test_candidates_of_a_bundle_with_an_unsuitable_variant_alone_are_refused(machine: Machine, tmp_path: Path) -> None:
    bundle = read_bundle(write_variant_bundle(tmp_path / "voice", VNNI, own=False))
    with pytest.raises(BundleError, match=r"No graph of voice 1\.0\.0 may run here.*avx512_vnni or avx_vnni"):
        candidates(bundle.manifest, machine)


def opened_graph(folder: Path, tmp_path: Path, **settings: object) -> str:
    model = open_model(read_bundle(folder), small_settings(tmp_path, **{"graph": "auto", **settings}))
    model.close()
    return model.graph


def test_open_model_of_a_variant_that_suits_every_cpu_runs_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "matchka"):
        assert opened_graph(write_variant_bundle(tmp_path / "models" / "voice"), tmp_path) == "int8"
    assert "voice 1.0.0 runs its int8 graph" in caplog.text


def test_open_model_where_float_is_wanted_runs_the_own_graph_and_the_log_says_why(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write_variant_bundle(tmp_path / "models" / "voice")
    with caplog.at_level(logging.INFO, "matchka"):
        assert opened_graph(folder, tmp_path, graph="float") == "float"
        assert small_settings(tmp_path).graph == "float"  # by default
    assert "voice 1.0.0 runs its float graph: MATCHKA_GRAPH is float" in caplog.text


def test_open_model_on_a_cpu_without_what_the_variant_needs_runs_the_own_graph_and_the_log_says_why(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write_variant_bundle(tmp_path / "models" / "voice", NOBODY_HAS)
    with caplog.at_level(logging.INFO, "matchka"):
        assert opened_graph(folder, tmp_path) == "float"
    assert "runs its float graph: the others need a_feature_of_no_cpu" in caplog.text


def test_open_model_of_a_variant_that_does_not_reproduce_the_examples_warns_and_runs_the_own_graph(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write_variant_bundle(tmp_path / "models" / "voice", variant_seed=8)
    assert opened_graph(folder, tmp_path) == "float"
    assert "voice 1.0.0: on this CPU the int8 graph is unlike the bundle's own (cosine " in caplog.text


def test_open_model_of_a_variant_alone_embeds_with_it(tmp_path: Path) -> None:
    folder = write_variant_bundle(tmp_path / "models" / "voice", own=False)
    model = open_model(read_bundle(folder), small_settings(tmp_path, graph="auto"))
    with np.load(folder / EXAMPLES) as kept:
        np.testing.assert_allclose(model.session.run(kept["rows"])["embeddings"], kept["embeddings"], atol=1e-5)
    model.close()


def test_open_model_of_a_variant_alone_that_does_not_reproduce_the_examples_is_refused(tmp_path: Path) -> None:
    folder = write_variant_bundle(tmp_path / "models" / "voice", variant_seed=8, own=False)
    with pytest.raises(BundleError, match=r"No graph of voice 1\.0\.0 is right on this CPU"):
        opened_graph(folder, tmp_path)


def test_open_model_of_a_variant_whose_examples_are_none_is_refused(tmp_path: Path) -> None:
    folder = write_variant_bundle(tmp_path / "models" / "voice")
    np.savez(folder / EXAMPLES, rows=np.zeros((1, 3), np.float32), embeddings=np.zeros((1, 8), np.float32))
    edit_bundle(folder, lambda manifest: manifest["files"].update({EXAMPLES: sha256_of(folder / EXAMPLES)}))
    with pytest.raises(BundleError, match="does not hold rows and their embeddings"):
        opened_graph(folder, tmp_path)


def test_models_of_a_service_say_which_graph_runs(tmp_path: Path) -> None:
    write_variant_bundle(tmp_path / "models" / "voice")
    with serving(small_settings(tmp_path, graph="auto")) as server:
        (model,) = server.client().models().models
    assert model.graph == "int8"


@pytest.mark.parametrize("missing", [VARIANT, EXAMPLES])
def test_read_bundle_of_a_variant_whose_file_is_not_listed_is_refused(missing: str, tmp_path: Path) -> None:
    folder = write_variant_bundle(tmp_path / "voice")
    edit_bundle(folder, lambda manifest: manifest["files"].pop(missing))
    with pytest.raises(BundleError, match=f"files must hold the sha256 of .*{missing}"):
        read_bundle(folder)
