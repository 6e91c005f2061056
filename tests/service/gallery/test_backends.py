"""Each name of MATCHKA_GALLERY that needs no server opens galleries that search as it says."""

import numpy as np
import pytest

from matchka.gallery.backends import opened_backend
from matchka.settings import Settings


@pytest.mark.parametrize(("name", "method"), [("faiss", "flat"), ("onnx", "onnx")])
def test_backend_by_its_name_searches_by_its_method(name: str, method: str):
    with opened_backend(Settings(gallery=name), is_encrypted=False) as backend:
        gallery = backend.galleries().of("tenant", "voice", "1", 4)
        gallery.put([5], np.ones((1, 4), np.float32))
        assert [hit.subject_key for hit in gallery.search(np.ones(4, np.float32), 2, 3)] == [5]
        assert {used for used, count in gallery.searches().items() if count} == {method}
