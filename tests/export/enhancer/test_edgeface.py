"""Another backbone by its name: EdgeFace with made weights, through training, a second training and the gate."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.progress import Progress

from matchka.inference.session import open_ort_session
from matchka_export.enhancer.measure import JUDGED_PX, EnhancerTrials, measure_sizes, shipped_ranges
from matchka_export.gate.auxiliary import write_auxiliary
from matchka_train.backbones.face.edgeface import SHAPES
from matchka_train.backbones.face.edgeface_network import EdgeFaceNetwork
from matchka_train.backbones.face.enhanced import EnhancedFace
from matchka_train.backbones.face.enhancer_file import read_enhancer
from matchka_train.errors import MatchkaError, WeightsError
from matchka_train.modalities import modality_of
from matchka_train.run.data import read_data
from matchka_train.run.enhancer.prepared import prepare_faces
from matchka_train.run.enhancer.recipe import EnhancerRecipe
from matchka_train.run.enhancer.run import ENHANCER_NAME, open_embedder, run_enhancer
from matchka_train.run.recipe import check_recipe, read_content
from tests.factories.checkout import ROOT
from tests.factories.named_weights import weights_by_name
from tests.factories.news_photographs import listed

pytestmark = pytest.mark.shared_data
PATH = ROOT / "training" / "matchka_train" / "recipes" / "face-lowres.yaml"
DOWNLOADS = ROOT / "build" / "downloads"
PEOPLE, PICTURES, DIM = 12, 3, 64


@pytest.fixture(scope="module")
def recipe(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> EnhancerRecipe:
    """The default recipe of the enhancer, with another backbone, few people and two steps."""
    home = tmp_path_factory.mktemp("edgeface-lowres")
    shapes = {name: tuple(tensor.shape) for name, tensor in EdgeFaceNetwork(SHAPES["xxs"]).state_dict().items()}
    torch.save(weights_by_name(shapes, seed=3), home / "edgeface_xxs.pt")
    backbone = {"kind": "edgeface", "variant": "xxs", "path": str(home / "edgeface_xxs.pt"), "licence": "made up"}
    changes = {
        "backbone": backbone | {"downloads_dir": str(DOWNLOADS)},
        "projection": None,
        "dims": [DIM],
        "network": {"channels": 4, "blocks": 1, "outer": 4, "places": 2},
        "optimisation": {"steps": 2, "batch": 2, "judged_every": 1},
        "output_dir": str(home / "trained"),
        "data.cache_dir": str(home / "cache"),
        "data.held_out.folds": 4,
    }
    for use, split in (("train", "train"), ("validation", "dev")):
        pictures = listed(shared_data / "face", split, home / f"{split}.csv", PEOPLE, PICTURES)
        named = {"corpus": "lfw", "domain": "photographs", "layout": "csv", "subject_column": "identity"}
        changes[f"data.{use}"] = [named | {"path": str(pictures)}]
    content = read_content(PATH, tuple(f"{key}={json.dumps(value)}" for key, value in changes.items()))
    found = check_recipe(PATH, content, EnhancerRecipe)
    try:
        for part in found.backbone.open().auxiliary:
            part.open()
    except MatchkaError as error:
        pytest.skip(f"the detector's weights are neither in the cache nor to be fetched: {error}")
    return found


@pytest.fixture(scope="module")
def trained(recipe: EnhancerRecipe) -> Path:
    with Progress(disable=True) as progress:
        reports = run_enhancer(recipe, progress)
    assert len(reports) == 3 * len(recipe.sizes_px)
    return recipe.output_dir / ENHANCER_NAME


def test_enhancer_trained_through_edgeface_changes_its_chips_and_names_it(
    recipe: EnhancerRecipe, trained: Path
) -> None:
    enhancer = read_enhancer(trained)
    assert (enhancer.description.backbone, enhancer.description.chip_px) == ("edgeface-xxs", 112)
    assert enhancer.description.backbone_sha256 == recipe.backbone.open().source.sha256
    assert float(enhancer.network.tail.weight.abs().max()) > 0  # it starts at zero


def test_enhancer_trained_through_edgeface_passes_through_the_gate(
    recipe: EnhancerRecipe, trained: Path, tmp_path: Path
) -> None:
    backbone = recipe.backbone.open()
    write_auxiliary(EnhancedFace.of(backbone, trained, ()), tmp_path, DOWNLOADS)
    with Progress(disable=True) as progress:
        data = read_data(recipe.data, modality_of(backbone).copies, recipe.data.cache_dir, progress)
        (part,) = prepare_faces(recipe.data, backbone, data, progress).reported.values()
        embedder = open_embedder(recipe, backbone)
        trials = EnhancerTrials(part, embedder, read_enhancer(trained), recipe.dims, 0, "photographs")
        measured = measure_sizes(trials, progress)
    assert tuple(one.verdict.size_px for one in measured) == JUDGED_PX
    assert {one.verdict.verdict for one in measured} == {"undecidable"}  # of a dozen people
    assert shipped_ranges([one.verdict for one in measured]) == ()
    chips, native = part.full[:2], np.array([16, 30], np.float32)
    (found,) = open_ort_session(tmp_path / "sr.onnx", 1).run(["enhanced"], {"chips": chips, "native_px": native})
    assert np.abs(found.astype(int) - read_enhancer(trained).enhance(chips, native)).max() <= 1


def test_training_goes_on_from_an_enhancer_and_refuses_one_of_other_parts(
    recipe: EnhancerRecipe, trained: Path, tmp_path: Path
) -> None:
    still = recipe.optimisation.model_copy(update={"learning_rate": 1e-12, "weight_decay": 0.0, "steps": 1})
    changes = {"start": trained, "optimisation": still, "output_dir": tmp_path / "again", "sizes_px": (16.0,)}
    with Progress(disable=True) as progress:
        run_enhancer(recipe.model_copy(update=changes), progress)
        first, again = (read_enhancer(path) for path in (trained, tmp_path / "again" / ENHANCER_NAME))
        for name, tensor in first.network.state_dict().items():
            assert torch.allclose(again.network.state_dict()[name], tensor, atol=1e-6), name
        assert again.description.training["start"]["sha256"] == first.sha256
        assert again.description.record != first.description.record
        larger = recipe.network.model_copy(update={"channels": 6})
        with pytest.raises(WeightsError, match="has other parts"):
            run_enhancer(recipe.model_copy(update=changes | {"network": larger}), progress)
