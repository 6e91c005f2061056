"""Every view for people with small screens, in the dark, with a keyboard or a screen reader."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Playwright, expect

from tests.factories.browser import WAIT_MS, chromium, opened
from tests.factories.checkout import ROOT
from tests.factories.server_process import RunningServer

VIEWS = ("People", "Verify", "Identify", "Radio", "Equalizer", "Models")
RULES = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}}
PHONE = {"width": 320, "height": 640}  # px: what WCAG 2.2 (1.4.10) asks for
PICTURES = Path(os.environ.get("PAGE_PICTURES", ROOT / "build" / "page"))


@pytest.fixture(scope="module")
def browser(program: Playwright) -> Iterator[Browser]:
    with chromium(program) as running:
        yield running


@pytest.fixture(scope="module")
def enrolled(service: RunningServer, voice_samples: Path) -> Iterator[str]:
    service.client().enroll("ada", sorted((voice_samples / "librivox").glob("*.wav"))[:2])
    yield "ada"
    service.client().delete_subject("ada")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("view", VIEWS)
def test_view_has_no_violation_of_wcag_2_2_aa(
    browser: Browser, service: RunningServer, voice_samples: Path, enrolled: str, view: str, scheme: str
) -> None:
    context = browser.new_context(color_scheme="light" if scheme == "light" else "dark", bypass_csp=True)
    with opened(context, f"{service.url}/#{view.lower()}") as found:
        page = found.page
        expect(page.get_by_role("heading", level=1, name=view)).to_be_visible(timeout=WAIT_MS)
        if view in ("Verify", "Identify"):
            if view == "Verify":
                page.get_by_label("Who is it said to be?").fill(enrolled)
            page.get_by_label("Voice: choose a file").set_input_files(voice_samples / "librivox" / "0930.wav")
            expect(page.locator(".verdict.good")).to_be_visible(timeout=WAIT_MS)
            page.get_by_text("Strictness and size").click()
        if view == "Equalizer":
            expect(page.locator(".bars")).to_be_visible(timeout=WAIT_MS)
        PICTURES.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=PICTURES / f"{view.lower()}-{scheme}.png", full_page=True)
        result = Axe().run(page, options=RULES)
        assert result.violations_count == 0, result.generate_report()
        assert len(result.response["passes"]) > 10


DROP = """
    async ({bytes, name, type}) => {
      const dropped = new DataTransfer();
      dropped.items.add(new File([new Uint8Array(bytes)], name, {type}));
      for (const event of ["dragover", "drop"]) {
        document.querySelector("footer").dispatchEvent(new DragEvent(event, {dataTransfer: dropped, bubbles: true}));
      }
    }
"""


@pytest.mark.usefixtures("enrolled")
def test_file_dropped_anywhere_is_taken_by_the_view_that_is_shown(
    browser: Browser, service: RunningServer, voice_samples: Path
) -> None:
    sample = (voice_samples / "librivox" / "0930.wav").read_bytes()
    dropped = {"bytes": list(sample), "name": "dropped.wav", "type": "audio/wav"}
    with opened(browser.new_context(), f"{service.url}/#people") as found:
        page = found.page
        expect(page.get_by_role("heading", level=1, name="People")).to_be_visible(timeout=WAIT_MS)
        page.evaluate(DROP, dropped)
        expect(page.locator("ul.samples audio")).to_have_count(1, timeout=WAIT_MS)
        page.get_by_role("link", name="Identify", exact=True).click()
        expect(page.get_by_role("heading", level=1, name="Identify")).to_be_visible(timeout=WAIT_MS)
        page.evaluate(DROP, dropped)
        expect(page.locator(".verdict.good")).to_contain_text("This is ada", timeout=WAIT_MS)


@pytest.mark.usefixtures("enrolled")
def test_state_counts_who_is_enrolled_by_model(browser: Browser, service: RunningServer, face_samples: Path) -> None:
    client = service.client()
    client.enroll("seen-only", [face_samples / "obama" / "obama.jpg"], model="face")
    with opened(browser.new_context(), service.url) as found:
        expect(found.page.locator("#state")).to_contain_text("Enrolled: voice 1, face 1", timeout=WAIT_MS)
    client.delete_subject("seen-only")


@pytest.mark.usefixtures("enrolled")
@pytest.mark.parametrize("view", VIEWS)
def test_view_fits_a_narrow_screen(browser: Browser, service: RunningServer, voice_samples: Path, view: str) -> None:
    with opened(browser.new_context(viewport=PHONE), f"{service.url}/#{view.lower()}") as found:
        expect(found.page.get_by_role("heading", level=1, name=view)).to_be_visible(timeout=WAIT_MS)
        if view == "People":
            found.page.get_by_label("Voice: choose a file").set_input_files(voice_samples / "librivox" / "0930.wav")
            expect(found.page.locator("ul.samples audio")).to_be_visible(timeout=WAIT_MS)
        widths = found.page.evaluate("() => [document.documentElement.scrollWidth, innerWidth]")
        assert widths[0] <= widths[1]


def test_page_is_used_by_keyboard_alone(browser: Browser, service: RunningServer, enrolled: str) -> None:
    """From the top to the deletion of a person, which the focus does not leave when it is cancelled."""
    with opened(browser.new_context(), service.url) as found:
        page = found.page
        expect(page.locator(f'li[data-subject="{enrolled}"]')).to_be_visible(timeout=WAIT_MS)
        page.keyboard.press("Tab")
        assert page.evaluate("() => document.activeElement.textContent") == "Skip to the content"
        page.keyboard.press("Enter")
        assert page.evaluate("() => document.activeElement.id") == "main"
        for _ in range(40):
            page.keyboard.press("Tab")
            if page.evaluate("() => document.activeElement.getAttribute('aria-label')") == f"Delete {enrolled}":
                break
        page.keyboard.press("Enter")
        expect(page.get_by_role("dialog", name=f"Delete {enrolled}?")).to_be_visible(timeout=WAIT_MS)
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog")).to_have_count(0)
        assert page.evaluate("() => document.activeElement.getAttribute('aria-label')") == f"Delete {enrolled}"
        page.get_by_role("link", name="Identify", exact=True).press("Enter")
        expect(page.get_by_role("heading", level=1, name="Identify")).to_be_focused(timeout=WAIT_MS)
        expect(page).to_have_title("Identify · matchka")


def test_slider_says_what_each_dim_costs_and_gives(browser: Browser, service: RunningServer) -> None:
    model = next(one for one in service.client().models().models if one.name == "voice")
    with opened(browser.new_context(), f"{service.url}/#verify") as found:
        page = found.page
        page.get_by_text("Strictness and size").click()
        slider = page.get_by_label("Size of the embedding (dim)")
        for number, dim in enumerate(model.dims):
            slider.fill(str(number))
            told = slider.get_attribute("aria-valuetext") or ""
            assert told.startswith(f"{dim} of {model.dims[-1]} numbers: {4 * dim} bytes a person")
            for metrics in model.per_dim[str(dim)].metrics.values():
                assert f"{100 * metrics.eer:.1f} %" in told
