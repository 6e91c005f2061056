"""Links between the repository's files hold where most people read them: on GitHub, and in messages of the code."""

import re
from functools import cache
from pathlib import Path

import pytest

from tests.docs.markdown import ROOT, anchors, links, pages

IN_CODE = re.compile(r"(?<![\w/])(docs/[\w./-]+\.md|README\.md|SECURITY\.md)(#[\w-]+)?")
OF_OTHERS = {"docs/pretrained.md"}  # a page of WeSpeaker's repository, which the catalogue of weights quotes
SOURCES = ("service", "training", "export", "deploy", "loadtests")


@cache
def anchors_of(page: Path) -> set[str]:
    return anchors(page.read_text(encoding="utf-8"))


def wrong(base: Path, link: str) -> str:
    """What is wrong with a link; empty where nothing is."""
    path, _, anchor = link.partition("#")
    target = base if not path else (base.parent / path).resolve()
    if not target.exists():
        return f"{link}: no such file"
    if not target.is_relative_to(ROOT):
        return f"{link}: outside the repository"
    return f"{link}: no such heading" if anchor and anchor not in anchors_of(target) else ""


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_links_of_a_page_lead_to_files_and_headings_that_are_there(page: Path) -> None:
    inside = [link for link in links(page) if not re.match(r"[a-z]+:", link)]
    assert [problem for link in inside if (problem := wrong(page, link))] == []


def test_pages_that_sources_name_are_there() -> None:
    named = {
        (source, found[0] + found[1])
        for folder in SOURCES
        for kind in ("*.py", "*.yaml", "*.yml", "*.json", "*.cfg", "*.js", "*.html")
        for source in (ROOT / folder).rglob(kind)
        for found in IN_CODE.findall(source.read_text(encoding="utf-8"))
        if found[0] not in OF_OTHERS
    }
    assert len(named) >= 10
    lost = [(str(source.relative_to(ROOT)), link) for source, link in named if wrong(ROOT / "README.md", link)]
    assert lost == []


def test_anchors_of_headings_are_those_that_github_gives() -> None:
    text = "# One `two`: three, (four)\n## A/B_c - d\n```\n# no heading\n```\n## Twice\n## Twice\n### [A link](x.md)!\n"
    assert anchors(text) == {"one-two-three-four", "ab_c---d", "twice", "twice-1", "a-link"}


def test_links_in_code_are_not_links(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("[a](b.md) `[c](d.md)` ![e](f.png)\n```sh\n[g](h.md)\n```\n[i](j.md#k)\n", encoding="utf-8")
    assert list(links(page)) == ["b.md", "f.png", "j.md#k"]
