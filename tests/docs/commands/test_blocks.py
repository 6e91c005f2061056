"""What pages show beside commands is of its language, and what they name exists: settings, files, options."""

import json
import re
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from matchka.modalities import MODALITIES
from matchka.settings import IN_FILES, PREFIX, SECTION_MARK, Settings
from tests.docs.commands.pages import OUTPUT, PYTHON, SHELL, Block, all_blocks, inline_of, pages, read, tokens_of
from tests.factories.checkout import ROOT

# of a language that nothing here reads, the reason
UNREAD = {
    OUTPUT: "what is printed or drawn; compared where it follows a block of commands (test_sessions.py)",
    SHELL: "commands: test_sessions.py and test_not_run.py",
    "caddy": "of a program that is not installed here",
    "haproxy": "a part of a configuration; deploy/haproxy.cfg is tested whole",
    "ini": "pip's own format",
    "nginx": "of a program that is not installed here",
}
READERS: dict[str, Callable[[str], Any]] = {
    "json": json.loads,
    "toml": tomllib.loads,
    "yaml": yaml.safe_load,
    PYTHON: lambda text: compile(text, "page", "exec"),
}
OTHER_VARIABLES = {"MATCHKA_EXPORT_WITHOUT_SAFE"}  # of programs that are not the service
VARIABLE = re.compile(r"\bMATCHKA_[A-Z][A-Z0-9_]*[A-Z0-9]\b(?!_|…|<|\*)")
ABBREVIATED = re.compile(r"…(__[A-Z_]+)")
FOLDERS = ("service", "training", "export", "loadtests", "tests", "deploy", "docs", ".ci")
SOURCES = (Path(), Path("service"), Path("training"), Path("export"))  # `matchka/modalities` is in the first of them
PATH = re.compile(
    rf"(?:{'|'.join(map(re.escape, (*FOLDERS, 'matchka', 'matchka_train', 'matchka_export')))})/[\w./+-]+"
)


def test_blocks_of_pages_when_listed_have_a_language_that_is_known() -> None:
    unknown = [
        f"{block.place}: `{block.language}`" for block in all_blocks() if block.language not in {*UNREAD, *READERS}
    ]
    assert not unknown, f"mark commands `{SHELL}`, what is printed or drawn `{OUTPUT}`:\n" + "\n".join(unknown)


def test_pages_have_no_blocks_that_are_only_indented() -> None:
    found = [
        f"{page}:{(token.map or [0])[0] + 1}"
        for page in pages()
        for token in tokens_of(read(page))
        if token.type == "code_block"
    ]
    assert not found, f"they say of no language what they are; put fences around them (```{SHELL}): {found}"


def test_languages_that_are_not_read_when_listed_all_occur() -> None:
    assert UNREAD.keys() <= {block.language for block in all_blocks()}


@pytest.mark.parametrize(
    "block", [block for block in all_blocks() if block.language in READERS], ids=lambda block: block.place
)
def test_block_of_a_page_when_read_is_of_its_language(block: Block) -> None:
    READERS[block.language](block.text)


def variables() -> Iterator[str]:
    """Every variable that the service reads."""
    sections: list[tuple[str, type[BaseModel]]] = [(known.name, known.limits) for known in MODALITIES.values()]
    names = [f"{name}_file" for name in IN_FILES]
    for name, field in Settings.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            sections.append((name, field.annotation))
        elif name != "modalities":
            names.append(name)
    names += [f"{section}{SECTION_MARK}{name}" for section, model in sections for name in model.model_fields]
    yield from (PREFIX + name.upper() for name in names)


def named(pattern: re.Pattern[str]) -> dict[str, str]:
    """What pages name, with a place of each."""
    found = {}
    for page in pages():
        for number, line in enumerate(read(page).splitlines(), 1):
            found.update(dict.fromkeys(pattern.findall(line), f"{page}:{number}"))
    return found


def test_variables_that_pages_name_exist() -> None:
    known = {*variables(), *OTHER_VARIABLES}
    unknown = [f"{place}: {name}" for name, place in named(VARIABLE).items() if name not in known]
    unknown += [
        f"{place}: …{ending}"
        for ending, place in named(ABBREVIATED).items()
        if not any(name.endswith(ending) for name in known)
    ]
    assert not unknown, "there are no such settings:\n" + "\n".join(unknown)


def test_variables_of_other_programs_when_listed_are_all_named() -> None:
    assert named(VARIABLE).keys() >= OTHER_VARIABLES


def test_variables_of_the_service_are_all_named_on_a_page() -> None:
    endings = tuple(named(ABBREVIATED))
    missing = [name for name in variables() if name not in named(VARIABLE) and not name.endswith(endings)]
    assert not missing, f"the table of settings in README.md lacks {missing}"


def exists(path: str) -> bool:
    """Whether a path of the repository exists: below its root or below that of a package."""
    return any((ROOT / source / path.rstrip("/")).exists() for source in SOURCES)


def test_paths_of_the_repository_that_pages_name_exist() -> None:
    spans = [code for page in pages() for code in inline_of(page, read(page)) if PATH.fullmatch(code.text)]
    assert len(spans) > 20
    missing = [f"{code.place}: {code.text}" for code in spans if not exists(code.text)]
    assert not missing, "there are no such files:\n" + "\n".join(missing)
