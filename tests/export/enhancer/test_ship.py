"""What a bundle states of the enhancer that it ships."""

from pathlib import Path

from matchka_export.defaults.catalogue import FACE_ENHANCER
from matchka_export.enhancer.ship import datasets_of_enhancer
from matchka_train.backbones.face.dlib import DlibFace
from matchka_train.backbones.face.enhanced import EnhancedFace


def test_datasets_of_the_shipped_enhancer_are_those_that_its_file_names_and_none_without_one() -> None:
    plain = DlibFace(Path("no-downloads"))
    trained, *rest = datasets_of_enhancer(EnhancedFace.of(plain, FACE_ENHANCER, ()))
    assert (trained.name, trained.use) == ("lfw", "enhancer trained")
    assert trained.source.endswith(": 862 people")
    assert trained.licence == "none for the photographs: research use only"
    assert [one.use for one in rest] == ["reported"]
    assert datasets_of_enhancer(plain) == ()
