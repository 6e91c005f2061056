"""The table of modalities in training: limits by kind, keys of the feature cache, and kinds that nobody reads."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from matchka.modalities.modality import GraphInput, InputSpec
from matchka.vectors import FloatArray
from matchka_train.backbones.face.dlib import DlibFace
from matchka_train.backbones.speaker.ge2e import Ge2e
from matchka_train.errors import FeatureError, RecipeError
from matchka_train.modalities import TRAINING_MODALITIES, describe_reader, modality_of, open_reader
from tests.factories.tiny_backbone import TinyBackbone


class SmellSpec(InputSpec):
    kind: str = "smell"

    def graph_input(self) -> GraphInput:
        return GraphInput("molecules", (4,), "float32")

    def example(self, rows: int, seed: int) -> FloatArray:
        raise NotImplementedError

    def content(self) -> dict[str, object]:
        return {}


@dataclass(frozen=True)
class SmellBackbone(TinyBackbone):
    input: SmellSpec = field(default_factory=SmellSpec)


def test_describe_reader_gives_the_keys_that_caches_on_disk_have() -> None:
    clips = describe_reader(Ge2e(), {"min_speech_s": 0.5})
    assert clips == {"input": Ge2e().input.content(), "limits": {"max_duration_s": 600.0, "min_speech_s": 0.5}}
    (detector,) = DlibFace(Path("elsewhere")).auxiliary
    assert describe_reader(DlibFace(), {}) == {"input": DlibFace().input.content(), "detector": detector.sha256}
    assert detector.sha256 == "ba987822301f215a5f937b23f1f71cd710cb9af99c1728f7dc496a713e10a3ab"


def test_fixed_rows_are_those_that_caches_on_disk_know_a_backbone_by() -> None:
    expected = {Ge2e(): "8a8f79366bd41962", DlibFace(): "6c5488e832e8e840"}
    for backbone, digest in expected.items():
        rows = modality_of(backbone).fixed_rows(backbone.input)
        assert hashlib.sha256(rows.tobytes()).hexdigest().startswith(digest)


@pytest.mark.parametrize(
    ("limits", "where"),
    [({"max_s": 3}, "max_s"), ({"max_duration_s": 0}, "max_duration_s"), ({"min_speech_s": "a"}, "min")],
)
def test_open_reader_when_a_limit_is_unknown_or_out_of_range_names_it(limits: dict[str, object], where: str) -> None:
    with pytest.raises(RecipeError, match=rf"data\.limits\.{where}") as refused:
        open_reader(TinyBackbone(), limits, None)
    assert "max_duration_s, min_speech_s" in refused.value.remedy


def test_open_reader_when_pictures_are_given_limits_of_clips_refuses() -> None:
    with pytest.raises(RecipeError, match=r"data\.limits\.min_speech_s") as refused:
        open_reader(DlibFace(), {"min_speech_s": 1.0}, None)
    assert "none" in refused.value.remedy


def test_modality_of_a_kind_without_a_row_names_those_that_have_one() -> None:
    with pytest.raises(FeatureError, match="tiny") as refused:
        modality_of(SmellBackbone())
    assert refused.value.value == "smell"
    assert all(kind in refused.value.remedy for kind in TRAINING_MODALITIES)
