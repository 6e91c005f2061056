"""The graphs that the service ships are those that are built here."""

from pathlib import Path

import onnx
import pytest

from matchka.gallery.onnx import index
from matchka_export.graph import gallery

SHIPPED = Path(index.__file__).parent


@pytest.mark.parametrize("name", gallery.graphs())
def test_graph_built_now_is_the_one_beside_the_service(name: str):
    assert gallery.graphs()[name] == onnx.load(SHIPPED / name)


def test_service_ships_no_other_graph_and_cuts_parts_as_they_do():
    assert {path.name for path in SHIPPED.glob("*.onnx")} == set(gallery.graphs())
    assert index.PART_ROWS == gallery.PART_ROWS
