"""`python -m matchka_docs`: lay out the pages, make the reference, build the site with Sphinx. Warnings are errors."""

import argparse
import os
import shutil
import sys
from pathlib import Path

from sphinx.cmd.build import build_main

from matchka.errors import MatchkaError
from matchka_docs.contents import write_contents
from matchka_docs.decisions import decisions_page, experiments_page
from matchka_docs.reference.calls import http_pages
from matchka_docs.reference.commands import command_pages
from matchka_docs.reference.docstring_pages import contracts_page, python_page
from matchka_docs.reference.errors import errors_page
from matchka_docs.reference.settings import settings_page
from matchka_docs.source import ROOT, write_pages

REFERENCE = {
    "reference/http/index.md": "every call with its fields, answers, errors and examples",
    "reference/matchka.md": "the service, the client commands, galleries, keys, the vault",
    "reference/matchka-train.md": "projections and heads on frozen backbones",
    "reference/matchka-export.md": "bundles: built, measured, signed",
    "reference/settings.md": "every variable with its default and range",
    "reference/errors.md": "every code with its status and remedies",
    "reference/python.rst": "every call as a method",
    "reference/contracts.rst": "what a new modality, output or gallery keeps",
}
EXPLANATIONS = {"decisions.md": "by subject", "experiments.md": ""}


def write_source(target: Path) -> None:
    """Everything that Sphinx reads.

    Args: target: an empty folder.
    """
    write_pages(target)
    made = {
        "reference/settings.md": settings_page(),
        "reference/errors.md": errors_page(),
        "reference/python.rst": python_page(),
        "reference/contracts.rst": contracts_page(),
        "decisions.md": decisions_page(),
        "experiments.md": experiments_page(),
        **{f"reference/{name}.md": text for name, text in command_pages().items()},
        **{f"reference/http/{name}.md": text for name, text in http_pages().items()},
    }
    for name, text in made.items():
        at = target / name
        at.parent.mkdir(parents=True, exist_ok=True)
        at.write_text(text, encoding="utf-8")
    write_contents(target, {"Reference": REFERENCE, "Explanations": EXPLANATIONS})


def main() -> int:
    """Build the site, or check the links that leave it.

    Returns: Sphinx's exit status; 0 where nothing was wrong.
    """
    parser = argparse.ArgumentParser(prog="matchka_docs", description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "docs", help="folder of the site")
    parser.add_argument("--links", action="store_true", help="ask every outside link for an answer instead")
    chosen = parser.parse_args()
    source, doctrees = chosen.out / ".source", chosen.out / ".doctrees"
    shutil.rmtree(chosen.out, ignore_errors=True)
    write_source(source)
    builder, out = ("linkcheck", chosen.out / ".links") if chosen.links else ("html", chosen.out)
    config = Path(__file__).parents[1]
    options = ["--fail-on-warning", "--keep-going", "--quiet", "-c", str(config), "-d", str(doctrees)]
    status = build_main(["--builder", builder, *options, str(source), str(out)])
    if not status:
        shutil.rmtree(doctrees)
        shutil.rmtree(source)  # kept where something is wrong: warnings name its lines
        sys.stdout.write(f"written: {os.path.relpath(out)}\n")
    return status


if __name__ == "__main__":
    try:
        sys.exit(main())
    except MatchkaError as error:
        sys.exit(f"error: {error}")
