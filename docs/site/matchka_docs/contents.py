"""The table of contents, docs/index.md, as the site's front page and a page for each of its sections."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from matchka_docs.source import DOCS, place_of, write_page

CONTENTS: Final = DOCS / "index.md"
LINKED: Final = re.compile(r"^- \[[^\]]+\]\(([^)#]+\.md)\)", re.MULTILINE)


@dataclass(frozen=True)
class Section:
    """A section of the table of contents. Attributes: text: Markdown below its heading; pages: files it lists."""

    title: str
    text: str
    pages: tuple[Path, ...]

    @property
    def lead(self) -> str:
        """Its first paragraph, where that is no list."""
        first = self.text.strip().split("\n\n")[0]
        return "" if first.startswith("- ") else first

    @property
    def name(self) -> str:
        """Its page's name; a section of one page and nothing else is that page.

        >>> Section("How-to guides", "", ()).name
        'how-to-guides'
        """
        if len(self.pages) == 1:
            return place_of(self.pages[0]).with_suffix("").as_posix()
        return self.title.lower().replace(" ", "-")


def sections() -> list[Section]:
    """Those of the table of contents, in its order."""
    _, *parts = re.split(r"^## ", CONTENTS.read_text(encoding="utf-8"), flags=re.MULTILINE)
    found = []
    for part in parts:
        title, _, text = part.partition("\n")
        listed = tuple((DOCS / link).resolve() for link in LINKED.findall(text))
        found.append(Section(title.strip(), text, listed))
    return found


def write_contents(target: Path, made: dict[str, dict[str, str]]) -> None:
    """Write the front page and those of the sections.

    Args:
        target: folder of the site's source.
        made: for a section's title, pages that are made of the code: their places and what is said of each.
    """
    known = sections()
    head = CONTENTS.read_text(encoding="utf-8").partition("\n## ")[0].partition("\n\n")[2].strip()
    cards = "\n".join(_card(section) for section in known)
    grid = f"::::{{grid}} 1 1 2 2\n:gutter: 3\n\n{cards}\n::::"
    tree = _tree([f"{section.title} <{section.name}>" for section in known])
    text = f"# matchka\n\n{head.partition(chr(10) * 2)[0]}\n\n{grid}\n\n{tree}"
    write_page(target / "index.md", CONTENTS, text, target)
    for section in known:
        if len(section.pages) == 1:
            continue
        others = made.get(section.title, {})
        added = {Path(page).with_suffix("").as_posix(): said for page, said in others.items()}
        listed = "\n".join(f"- {{doc}}`{page}`{said and ': ' + said}" for page, said in added.items())
        tree = _tree([*(place_of(page).with_suffix("").as_posix() for page in section.pages), *added])
        at = target / f"{section.name}.md"
        write_page(at, CONTENTS, f"# {section.title}\n{section.text.replace('### ', '## ')}", target)
        with at.open("a", encoding="utf-8") as file:
            file.write(f"\n{listed}\n\n{tree}")


def _card(section: Section) -> str:
    said = " ".join(section.lead.split())
    return f":::{{grid-item-card}} {section.title}\n:link: {section.name}\n:link-type: doc\n\n{said}\n:::\n"


def _tree(pages: list[str]) -> str:
    return "```{toctree}\n:hidden:\n\n" + "\n".join(pages) + "\n```\n"
