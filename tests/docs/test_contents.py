"""Nobody finds a page that is in no table of contents."""

import doctest
from importlib import import_module
from pathlib import Path

import pytest

from tests.docs.markdown import ROOT, links

DOCS = ROOT / "docs"


def test_every_page_is_in_the_table_of_contents() -> None:
    listed = {(DOCS / link).resolve() for link in links(DOCS / "index.md")}
    missing = {page.name for page in DOCS.glob("*.md")} - {page.name for page in listed} - {"index.md"}
    assert not missing, f"add a line to a section of docs/index.md for each of {sorted(missing)}"


def test_every_page_is_listed_once() -> None:
    listed = list(links(DOCS / "index.md"))
    assert sorted(listed) == sorted(set(listed))


@pytest.mark.usefixtures("site_sources")
def test_every_decision_has_a_subject() -> None:
    decisions = import_module("matchka_docs.decisions")
    text = decisions.decisions_page()
    for page in sorted((DOCS / "decisions").glob("*.md")):
        assert text.count(f"`decisions/{page.stem}`") == 1, page.name


@pytest.mark.usefixtures("site_sources")
def test_decision_of_an_unknown_block_is_refused_with_the_place_to_sort_it() -> None:
    decisions = import_module("matchka_docs.decisions")
    with pytest.raises(decisions.UnsortedDecisionError, match=r"999.* SUBJECTS of decisions\.py"):
        decisions.subject_of(999)


@pytest.mark.usefixtures("site_sources")
@pytest.mark.parametrize(
    "name",
    ["contents", "decisions", "reference.calls", "reference.docstrings", "reference.settings", "reference.table"],
)
def test_examples_in_docstrings_hold(name: str) -> None:
    result = doctest.testmod(import_module(f"matchka_docs.{name}"), raise_on_error=True)
    assert result.attempted > 0


@pytest.mark.usefixtures("site_sources")
def test_links_of_a_moved_page_follow_it(tmp_path: Path) -> None:
    source = import_module("matchka_docs.source")
    text = "[a](keys.md#scopes) [b](../README.md) [c](../deploy/haproxy.cfg) [d](../deploy) [e](decisions) `[f](x.md)`"
    page = DOCS / "replicas.md"
    source.write_page(tmp_path / "sub" / "page.md", page, text, tmp_path)
    moved = (tmp_path / "sub" / "page.md").read_text(encoding="utf-8")
    assert moved.split() == [
        "[a](../keys.md#scopes)",
        "[b](../readme.md)",
        "[c](../repository/deploy/haproxy.cfg)",
        "`deploy/`",
        "[e](../decisions.md)",
        "`[f](x.md)`",
    ]
    assert (tmp_path / "repository" / "deploy" / "haproxy.cfg").is_file()
    with pytest.raises(source.LostLinkError, match=r"docs/replicas\.md links .*'nowhere\.md'"):
        source.write_page(tmp_path / "page.md", page, "[a](nowhere.md)", tmp_path)
