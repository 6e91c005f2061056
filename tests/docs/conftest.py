"""What makes the site is beside the documents, on no path by default."""

import sys
from collections.abc import Iterator

import pytest

from tests.docs.markdown import ROOT


@pytest.fixture
def site_sources(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Make `matchka_docs` importable for one test."""
    monkeypatch.syspath_prepend(str(ROOT / "docs" / "site"))
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "matchka_docs"]:
        del sys.modules[name]
