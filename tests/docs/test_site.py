"""The site as it is built: whole, consistent, of this machine nothing, and of other hosts nothing."""

import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from playwright.sync_api import sync_playwright

from matchka.api.problems import STATUS_AND_CODE
from matchka.app import create_app
from matchka.modalities import MODALITIES
from matchka.settings import SECTIONS, Settings, read_settings
from tests.docs.markdown import ROOT
from tests.factories.browser import WAIT_MS, chromium

LOADING = {"link": "href", **dict.fromkeys(("audio", "iframe", "img", "script", "source", "video"), "src")}
HEADING = re.compile("h[1-6]")
COMMANDS = {
    "matchka": ("serve", "verify", "gallery backup", "keys create", "vault rotate", "audit verify", "receipt verify"),
    "matchka-train": ("run", "adopt", "backbones list", "experiment promises"),
    "matchka-export": ("defaults", "samples"),
}


@dataclass
class Parsed(HTMLParser):
    """What a page has, links to and loads."""

    ids: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    loaded: list[str] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    headings: list[str] = field(default_factory=list)
    is_heading: bool = False

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = {name: value or "" for name, value in attrs}
        self.ids |= {known[name] for name in ("id", "name") if known.get(name)}
        if tag == "a" and "href" in known:
            self.links.append(known["href"])
        if tag in LOADING and LOADING[tag] in known:
            self.loaded.append(known[LOADING[tag]])
        if HEADING.fullmatch(tag):
            self.is_heading = True
            self.headings.append("")

    def handle_endtag(self, tag: str) -> None:
        self.is_heading = self.is_heading and not HEADING.fullmatch(tag)

    def handle_data(self, data: str) -> None:
        self.words.append(data)
        if self.is_heading:
            self.headings[-1] += data

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())


@cache
def parsed(page: Path) -> Parsed:
    found = Parsed()
    found.feed(page.read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built once; a warning ends the build."""
    pytest.importorskip("sphinx", reason="the extra [docs] is not installed")
    out = tmp_path_factory.mktemp("site") / "docs"
    paths = os.pathsep.join([str(ROOT / "docs" / "site"), *sys.path])
    built = subprocess.run(
        [sys.executable, "-m", "matchka_docs", "--out", str(out)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    assert "WARNING" not in built.stdout + built.stderr
    return out


def pages_of(site: Path) -> list[Path]:
    return sorted(page for page in site.rglob("*.html") if "_static" not in page.parts)  # a template of the theme


def target_of(page: Path, link: str) -> tuple[Path, str]:
    """The file and the anchor that a link without a host leads to."""
    parts = urlsplit(link)
    path = unquote(parts.path)
    return ((page.parent / path).resolve() if path else page), unquote(parts.fragment)


def is_inside(link: str) -> bool:
    return not urlsplit(link).scheme and not urlsplit(link).netloc


@pytest.mark.slow
def test_links_and_anchors_of_the_site_are_there(site: Path) -> None:
    broken = []
    for page in pages_of(site):
        for link in filter(is_inside, [*parsed(page).links, *parsed(page).loaded]):
            target, anchor = target_of(page, link)
            has_anchor = not anchor or (target.suffix == ".html" and target.is_file() and anchor in parsed(target).ids)
            if not target.is_file() or not has_anchor:
                broken.append((str(page.relative_to(site)), link))
    assert len(pages_of(site)) > 100
    assert broken == []


@pytest.mark.slow
def test_site_loads_nothing_of_other_hosts(site: Path) -> None:
    loaded = {link for page in pages_of(site) for link in parsed(page).loaded if not is_inside(link)}
    assert {link for link in loaded if not link.startswith("data:")} == set()
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(url\(|@import)\s*[\"']?(https?:)?//", sheet.read_text(encoding="utf-8")), sheet


@pytest.mark.slow
def test_every_page_of_the_repository_is_reached_from_the_front_page(site: Path) -> None:
    reached, waiting = set(), [site / "index.html"]
    while waiting:
        page = waiting.pop()
        if page not in reached and page.suffix == ".html":
            reached.add(page)
            waiting += [target_of(page, link)[0] for link in filter(is_inside, parsed(page).links)]
    docs = ROOT / "docs"
    wanted = {site / page.relative_to(docs).with_suffix(".html") for page in docs.rglob("*.md")}
    wanted |= {site / f"{name}.html" for name in ("readme", "security", "changelog")}
    assert sorted(wanted - reached) == []


@pytest.mark.slow
def test_reference_has_every_call(site: Path) -> None:
    document = create_app(read_settings({})).openapi()
    pages = (site / "reference" / "http").glob("*.html")
    headings = {heading.removesuffix("#") for page in pages for heading in parsed(page).headings}
    calls = {f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods}
    assert calls - headings == set()
    answers = parsed(site / "reference" / "http" / "schemas.html")
    assert {name.lower() for name in document["components"]["schemas"]} - answers.ids == set()


@pytest.mark.slow
def test_reference_has_every_setting(site: Path) -> None:
    words = set(re.findall(r"\bMATCHKA_\w+", " ".join(parsed(site / "reference" / "settings.html").words)))
    own = [name for name in Settings.model_fields if name not in {"modalities", *SECTIONS}]
    parts = [f"{name}__{key}" for name in SECTIONS for key in type(Settings.model_fields[name].default).model_fields]
    limits = [f"{known.name}__{key}" for known in MODALITIES.values() for key in known.limits.model_fields]
    wanted = {f"MATCHKA_{name}".upper() for name in [*own, *parts, *limits]}
    assert len(wanted) > 80
    assert wanted - words == set()


@pytest.mark.slow
def test_reference_has_every_error(site: Path) -> None:
    page = parsed(site / "reference" / "errors.html")
    headings = [heading.removesuffix("#") for heading in page.headings]
    for kind, (_, code) in STATUS_AND_CODE.items():
        assert headings.count(code) == 1, code
        meaning = " ".join((kind.__doc__ or "").split("\n\n")[0].split()).replace("`", "")
        assert f"{code}#{meaning}" in page.text.replace("# ", "#"), code


@pytest.mark.slow
def test_reference_has_every_command(site: Path) -> None:
    for program, commands in COMMANDS.items():
        headings = {heading.removesuffix("#") for heading in parsed(site / "reference" / f"{program}.html").headings}
        assert {f"{program} {command}" for command in commands} - headings == set()


def pattern_of(folder: Path) -> re.Pattern[bytes]:
    """A path to what is in a folder: its own may be a word of ordinary text, as /app is."""
    names = "|".join(re.escape(path.name) for path in folder.iterdir())
    return re.compile(rf"(?<![\w.-]){re.escape(str(folder))}/(?:{names})\b".encode())


@pytest.mark.slow
def test_site_names_no_folder_of_this_machine(site: Path) -> None:
    folders = {folder: pattern_of(folder) for folder in (ROOT, site, Path.home()) if folder.parent != folder}
    named = [
        (str(file.relative_to(site)), folder)
        for file in site.rglob("*")
        if file.is_file()
        for folder, pattern in folders.items()
        if pattern.search(file.read_bytes())
    ]
    assert named == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{}/docs/a.md", True),
        ("file://{}/docs", True),
        ("in {} or so", False),
        ("http://a.example/v1{}/docs", False),
        ("{}-else/docs", False),
        ("{}/none", False),
    ],
)
def test_folder_is_named_where_a_path_begins_with_it(text: str, expected: bool, tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    assert (pattern_of(tmp_path).search(text.format(tmp_path).encode()) is not None) == expected


@pytest.mark.slow
def test_search_from_a_folder_without_a_server_finds_pages_and_loads_nothing_else(site: Path) -> None:
    with sync_playwright() as program, chromium(program) as browser:
        page = browser.new_page()
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"{(site / 'search.html').as_uri()}?q=coercion")
        page.wait_for_selector("#search-results li a", timeout=WAIT_MS)
        found = {link.get_attribute("href") for link in page.query_selector_all("#search-results li a")}
        assert any("not-protected.html" in str(link) for link in found)
        page.set_viewport_size({"width": 390, "height": 800})  # of a telephone: tables scroll, the page does not
        page.goto((site / "not-protected.html").as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert {urlsplit(url).scheme for url in asked} <= {"file", "data"}
