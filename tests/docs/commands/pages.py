"""What README and docs hold that a reader types or pastes: blocks, commands and inline code, each with its line."""

import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from markdown_it import MarkdownIt
from markdown_it.token import Token

from tests.factories.checkout import ROOT

SHELL = "sh"
PYTHON = "python"
OUTPUT = "text"
# a word for the reader to fill in: <digest>, <address of an index>; the shell would read from a file of that name
PLACEHOLDER = re.compile(r"<[A-Za-z][^<>\n]*>")
# up to a comment, which begins with # behind a blank and outside of quotes
CODE = re.compile(r"""(?:<[A-Za-z][^<>\n]*>|'[^']*'|"(?:\\.|[^"\\])*"|\\.|[^\s'"\\]|\s+(?![\s#]))*""", re.DOTALL)
EXIT_CODE = re.compile(r"exit code (\d)")
SAID = re.compile(r"^(match: \w+)")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page.

    Attributes:
        page: its path below the repository's root.
        line: of its first line of text, from 1.
        language: the word behind the fence.
        text: what stands between the fences.
        shown: the block of output that follows it with nothing in between; empty where none does.
    """

    page: str
    line: int
    language: str
    text: str
    shown: str = ""

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"


@dataclass(frozen=True)
class Command:
    """One command of a shell block, which may have several lines.

    Attributes:
        page: its path below the repository's root.
        line: of its beginning, from 1.
        text: it, as it stands there.
    """

    page: str
    line: int
    text: str

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def code(self) -> str:
        """Without its comment, in one line where only backslashes join several."""
        return self._halves[0].replace("\\\n", "").strip()

    @property
    def exit_code(self) -> int:
        """What its comment begins with (`# exit code 1: no match`); else 0."""
        stated = EXIT_CODE.match(self._halves[1])
        return int(stated.group(1)) if stated else 0

    @property
    def said(self) -> str:
        """What its comment says that it prints (`# match: ada`); empty where it says nothing of that."""
        found = SAID.match(self._halves[1])
        return found.group(1) if found else ""

    @property
    def _halves(self) -> tuple[str, str]:
        """It and its comment."""
        end = CODE.match(self.text).end()
        return self.text[:end], self.text[end:].strip().removeprefix("#").strip()


@dataclass(frozen=True)
class Inline:
    """Inline code of a page, at the line where its paragraph begins."""

    page: str
    line: int
    text: str

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"


def pages() -> list[str]:
    """README, SECURITY and all of docs but the decisions, which say what held on their day."""
    found = [ROOT / "README.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").rglob("*.md"))]
    names = [path.relative_to(ROOT).as_posix() for path in found]
    return [name for name in names if not name.startswith("docs/decisions/")]


def tokens_of(text: str) -> list[Token]:
    return MarkdownIt("commonmark").enable("table").parse(text)


def read(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def blocks_of(page: str, text: str) -> list[Block]:
    """The fenced blocks of a page, in their order; those of output beside what they belong to as well."""
    fences = [(i, token) for i, token in enumerate(tokens_of(text)) if token.type == "fence"]
    following = {i: token for i, token in fences if token.info.strip() == OUTPUT}
    found = []
    for i, token in fences:
        shown = following[i + 1].content if i + 1 in following and token.info.strip() != OUTPUT else ""
        line = (token.map or [0])[0] + 2
        found.append(Block(page, line, token.info.strip(), token.content, shown))
    return found


def inline_of(page: str, text: str) -> Iterator[Inline]:
    """Every piece of inline code of a page."""
    for token in tokens_of(text):
        for child in token.children or ():
            if child.type == "code_inline":
                yield Inline(page, (token.map or [0])[0] + 1, child.content)


def commands_of(block: Block) -> list[Command]:
    """The commands of a shell block: lines that go on in the next one, as the shell sees it, are one command."""
    found, begun = [], ""
    for number, line in enumerate(block.text.splitlines()):
        begun = f"{begun}\n{line}" if begun else line
        if not begun.strip() or begun.lstrip().startswith("#"):
            begun = ""
        elif is_whole(begun):
            found.append(Command(block.page, block.line + number - begun.count("\n"), begun))
            begun = ""
    if begun:  # the shell will say what it misses
        found.append(Command(block.page, block.line + block.text.count("\n") - 1 - begun.count("\n"), begun))
    return found


@cache
def is_whole(text: str) -> bool:
    """Whether the shell waits for no further line."""
    if text.endswith("\\"):
        return False
    command = ["bash", "-n", "-c", PLACEHOLDER.sub("PLACEHOLDER", text)]
    environment = {**os.environ, "LC_ALL": "C"}  # of a locale that is not installed it would warn, too
    checked = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return checked.returncode == 0 and not checked.stderr  # a here-document without its end is only a warning


def all_blocks() -> list[Block]:
    return [block for page in pages() for block in blocks_of(page, read(page))]


def all_commands() -> list[Command]:
    return [command for block in all_blocks() if block.language == SHELL for command in commands_of(block)]
