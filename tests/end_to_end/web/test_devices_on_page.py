"""What the page does with microphones and cameras that come late, and with recordings that become too long."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Playwright, Route, expect

from tests.factories.browser import WAIT_MS, chromium, opened
from tests.factories.server_process import RunningServer, StartServer

LONGEST_S = 2  # instead of half a minute
# A device is there only once `window.allow()` was called, as if somebody had to be asked for it.
ASK = """
    const real = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
    window.given = [];
    navigator.mediaDevices.getUserMedia = async (wanted) => {
      const stream = await real(wanted);
      await new Promise((resolve) => { window.allow = resolve; });
      window.given.push(stream);
      return stream;
    };
"""
ENDED = "() => given.length === 1 && given[0].getTracks().every((track) => track.readyState === 'ended')"


@pytest.fixture(scope="module")
def browser(program: Playwright, voice_samples: Path) -> Iterator[Browser]:
    with chromium(program, voice=voice_samples / "librivox" / "0870.wav") as running:
        yield running


def posts_of(page: Page) -> list[str]:
    """Addresses that something is sent to from now on."""
    posted: list[str] = []
    page.on("request", lambda request: posted.append(request.url) if request.method == "POST" else None)
    return posted


def leave_while_asked(page: Page, button: str) -> None:
    """Ask for a device, go on to another view, and be given it there."""
    page.get_by_role("button", name=button, exact=True).click()
    page.wait_for_function("() => window.allow", timeout=WAIT_MS)
    page.get_by_role("link", name="Models", exact=True).click()
    expect(page.get_by_role("heading", level=1, name="Models")).to_be_visible(timeout=WAIT_MS)
    page.evaluate("() => allow()")
    page.wait_for_function(ENDED, timeout=WAIT_MS)


@pytest.mark.parametrize("view", ["People", "Verify", "Identify"])
@pytest.mark.parametrize(("kind", "button"), [("Voice", "Record"), ("Face", "Start the camera")])
def test_device_that_is_granted_after_its_view_was_left_is_given_back_at_once(
    browser: Browser, service: RunningServer, view: str, kind: str, button: str
) -> None:
    context = browser.new_context()
    context.add_init_script(ASK)
    with opened(context, f"{service.url}/#{view.lower()}") as found:
        posted = posts_of(found.page)
        found.page.get_by_label(kind, exact=True).check()
        leave_while_asked(found.page, button)
        assert posted == []


def test_camera_of_a_turning_head_that_is_granted_after_its_view_was_left_films_nobody(
    browser: Browser, start_server: StartServer, face_samples: Path, tmp_path: Path
) -> None:
    server = start_server(tmp_path / "data", MATCHKA_HEAD_TURN="true")
    server.client().enroll("away", [face_samples / "obama" / "obama.jpg"], model="face")
    context = browser.new_context()
    context.add_init_script(ASK)
    with opened(context, f"{server.url}/#verify/away") as found:
        posted = posts_of(found.page)
        found.page.get_by_label("Face", exact=True).check()
        found.page.get_by_label("Turn of the head (experimental)").check()
        leave_while_asked(found.page, "Begin")
        assert posted == []


def test_recording_that_becomes_too_long_ends_and_is_sent_only_when_it_is_wanted(
    browser: Browser, service: RunningServer, voice_samples: Path
) -> None:
    service.client().enroll("long", [voice_samples / "librivox" / "0870.wav"])
    context = browser.new_context()
    context.add_init_script(ASK)
    context.route("**/capture/microphone.js", shorten)
    with opened(context, f"{service.url}/#verify/long") as found:
        page, posted = found.page, posts_of(found.page)
        page.get_by_role("button", name="Record", exact=True).click()
        page.wait_for_function("() => window.allow", timeout=WAIT_MS)
        page.evaluate("() => allow()")
        expect(page.locator(".advice")).to_contain_text(f"{LONGEST_S} s are recorded", timeout=WAIT_MS)
        page.wait_for_function(ENDED, timeout=WAIT_MS)
        assert posted == []
        page.get_by_role("button", name="Stop and verify").click()
        expect(page.locator(".verdict, .problem")).to_be_visible(timeout=WAIT_MS)
        assert posted == [f"{service.url}/v1/verify"]
    service.client().delete_subject("long")


def shorten(route: Route) -> None:
    """Answer with the page's own module, in which recordings are short."""
    answer = route.fetch()
    text = answer.text()
    assert "LONGEST_S = 30" in text
    route.fulfill(response=answer, body=text.replace("LONGEST_S = 30", f"LONGEST_S = {LONGEST_S}"))
