"""The pages of the repository, laid out for Sphinx: links follow the pages to their new places."""

import os
import re
import shutil
from pathlib import Path
from typing import Final

from matchka.errors import MatchkaError

ROOT: Final = Path(__file__).parents[3]
DOCS: Final = ROOT / "docs"
PAGES_AT_ROOT: Final = {"README.md": "readme.md", "SECURITY.md": "security.md", "CHANGELOG.md": "changelog.md"}
FILES: Final = "repository"  # where linked files that are no pages lie
PAGE_OF_FOLDER: Final = {"docs/decisions": "decisions.md", "docs/experiments": "experiments.md"}
LINK: Final = r"(?P<words>!?\[[^\]]*\])\((?P<path>[^)#\s:]+)(?P<anchor>#[^)\s]*)?\)"
CODE: Final = r"^```.*?^```$|`[^`\n]+`"
LINK_OR_CODE: Final = re.compile(f"{CODE}|{LINK}", re.MULTILINE | re.DOTALL)


class LostLinkError(MatchkaError):
    """A page links to a file that is not there."""


def pages() -> list[Path]:
    """Every Markdown page of the repository that is part of the site, but the table of contents."""
    found = [path for path in DOCS.rglob("*.md") if path != DOCS / "index.md"]
    return sorted([*found, *(ROOT / name for name in PAGES_AT_ROOT)])


def place_of(path: Path) -> Path:
    """Where a file of the repository lies in the site's source."""
    inside = path.relative_to(ROOT).as_posix()
    if inside in PAGE_OF_FOLDER:
        return Path(PAGE_OF_FOLDER[inside])
    if inside in PAGES_AT_ROOT:
        return Path(PAGES_AT_ROOT[inside])
    return path.relative_to(DOCS) if path.is_relative_to(DOCS) else Path(FILES, inside)


def write_pages(target: Path) -> None:
    """Copy every page, and the files that they show or link to.

    Args: target: folder of the site's source.
    """
    for page in pages():
        write_page(target / place_of(page), page, page.read_text(encoding="utf-8"), target)


def write_page(at: Path, page: Path, text: str, target: Path) -> None:
    """Write a page with links that hold where it lies now.

    Args:
        at: where.
        page: where its links are written for.
        text: its Markdown.
        target: folder of the site's source.

    Raises: LostLinkError: a link leads to no file.
    """

    def moved(link: re.Match[str]) -> str:
        if link["path"] is None:
            return link[0]
        linked = (page.parent / link["path"]).resolve()
        if linked.is_dir() and linked.relative_to(ROOT).as_posix() not in PAGE_OF_FOLDER:
            return f"`{linked.relative_to(ROOT)}/`"  # a site has no listing of folders
        if not linked.exists():
            name = page.relative_to(ROOT).as_posix()
            raise LostLinkError(
                f"{name} links to a file that is not there.", value=link["path"], remedy="Mend the link."
            )
        place = target / place_of(linked)
        if linked.is_file() and linked.suffix != ".md":
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(linked, place)
        return f"{link['words']}({os.path.relpath(place, at.parent)}{link['anchor'] or ''})"

    at.parent.mkdir(parents=True, exist_ok=True)
    at.write_text(LINK_OR_CODE.sub(moved, text), encoding="utf-8")
