"""The page when things go wrong: keys, a service that goes away or cannot serve, huge files, hostile names."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from playwright.sync_api import Browser, Page, Playwright, expect

from tests.factories.browser import WAIT_MS, chromium, opened
from tests.factories.server_process import RunningServer, StartServer, stop

KEY = "the-first-key-of-this-service"
TWO_GB = 2 << 30


@pytest.fixture(scope="module")
def browser(program: Playwright) -> Iterator[Browser]:
    with chromium(program) as running:
        yield running


def enter_key(page: Page, key: str) -> None:
    page.get_by_role("dialog").get_by_label("Key").fill(key)
    page.get_by_role("button", name="Use it").click()


def test_key_is_asked_for_kept_in_the_tab_and_asked_for_again_once_it_is_revoked(
    browser: Browser, start_server: StartServer, voice_samples: Path, tmp_path: Path
) -> None:
    server = start_server(tmp_path / "data", MATCHKA_API_KEY=KEY)
    context = browser.new_context()
    with opened(context, server.url) as found:
        page = found.page
        expect(page.get_by_role("dialog")).to_contain_text("needs an API key", timeout=WAIT_MS)
        enter_key(page, "a-wrong-key")
        expect(page.get_by_role("dialog")).to_contain_text("not known", timeout=WAIT_MS)
        enter_key(page, KEY)
        expect(page.locator("#state")).to_contain_text("Ready", timeout=WAIT_MS)
        page.reload()
        expect(page.locator("#state")).to_contain_text("Ready", timeout=WAIT_MS)
        made = server.client(KEY).create_key("page")  # enroll, verify and identify: neither lists nor scores
        page.get_by_role("button", name="API key").click()
        enter_key(page, made.key)
        expect(page.get_by_text("This key may not list people")).to_be_visible(timeout=WAIT_MS)
        page.get_by_role("textbox", name="Name").fill("ada")
        page.get_by_label("Voice: choose a file").set_input_files(voice_samples / "librivox" / "0870.wav")
        page.get_by_role("button", name="Enrol", exact=True).click()
        expect(page.get_by_role("heading", name="ada is enrolled")).to_be_visible(timeout=WAIT_MS)
        page.get_by_role("link", name="Verify", exact=True).click()
        page.get_by_label("Who is it said to be?").fill("ada")
        page.get_by_label("Voice: choose a file").set_input_files(voice_samples / "librivox" / "0880.wav")
        expect(page.locator(".verdict.good")).to_be_visible(timeout=WAIT_MS)
        expect(page.locator(".bars")).to_have_count(0)  # no scores, and nothing that looks like one
        expect(page.locator(".verdict")).not_to_contain_text("NaN")
        expect(page.locator(".verdict")).not_to_contain_text("null")
        server.client(KEY).revoke_key(made.key_id)
        wait_until_refused(server, made.key)
        page.get_by_label("Voice: choose a file").set_input_files(voice_samples / "librivox" / "0890.wav")
        expect(page.get_by_role("dialog")).to_contain_text("not known", timeout=WAIT_MS)
    with opened(context, server.url) as another:  # another tab knows no key
        expect(another.page.get_by_role("dialog")).to_contain_text("needs an API key", timeout=WAIT_MS)


def wait_until_refused(server: RunningServer, key: str) -> None:
    """Until a revocation holds."""
    headers, deadline = {"Authorization": f"Bearer {key}"}, time.monotonic() + WAIT_MS / 1000
    while requests.get(f"{server.url}/v1/models", headers=headers, timeout=WAIT_MS / 1000).status_code != 401:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_page_goes_on_when_a_service_that_went_away_is_back(
    browser: Browser, start_server: StartServer, tmp_path: Path
) -> None:
    server = start_server(tmp_path / "data")
    with opened(browser.new_context(), server.url) as found:
        page = found.page
        expect(page.locator("#state")).to_contain_text("Ready", timeout=WAIT_MS)
        server.process.send_signal(signal.SIGKILL)
        server.process.wait()
        page.get_by_role("link", name="Identify", exact=True).click()
        page.get_by_role("link", name="People", exact=True).click()
        expect(page.locator("#lost")).to_contain_text("does not answer", timeout=WAIT_MS)
        start_server(tmp_path / "data", int(server.url.rpartition(":")[2]))
        expect(page.locator("#lost")).to_be_hidden(timeout=WAIT_MS)
        expect(page.locator("#state")).to_contain_text("Ready", timeout=WAIT_MS)


def test_service_that_can_serve_nothing_is_shown_in_its_own_words(
    browser: Browser, start_server: StartServer, tmp_path: Path
) -> None:
    """A vault without its master key: every call is answered 503."""
    key = tmp_path / "master.key"
    server = start_server(tmp_path / "data", MATCHKA_MASTER_KEY_FILE=str(key), MATCHKA_CREATE_MASTER_KEY="true")
    stop(server.process)
    key.rename(tmp_path / "lost.key")
    locked = start_server(tmp_path / "data", wait=False, MATCHKA_MASTER_KEY_FILE=str(key))
    with opened(browser.new_context(), wait_for_port(locked)) as found:
        expect(found.page.locator(".problem")).to_contain_text("master key", timeout=WAIT_MS)
        expect(found.page.locator("#state")).to_have_text("Not ready", timeout=WAIT_MS)
        expect(found.page.get_by_role("button", name="Try again")).to_be_visible()


def wait_for_port(server: RunningServer) -> str:
    """Until the process listens, however little it can do."""
    deadline = time.monotonic() + WAIT_MS / 1000
    while True:
        try:
            requests.get(f"{server.url}/healthz", timeout=WAIT_MS / 1000)
        except requests.ConnectionError:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        else:
            return server.url


def test_dropped_file_of_two_gigabytes_is_refused_without_being_sent(
    browser: Browser, service: RunningServer, tmp_path: Path
) -> None:
    huge = tmp_path / "huge.wav"
    with huge.open("wb") as file:
        file.truncate(TWO_GB)
    with opened(browser.new_context(), service.url) as found:
        posted: list[str] = []
        found.page.on("request", lambda request: posted.append(request.url) if request.method == "POST" else None)
        found.page.get_by_role("link", name="Identify", exact=True).click()
        found.page.get_by_label("Voice: choose a file").set_input_files(huge)
        expect(found.page.locator(".problem")).to_contain_text("too large: 2048 MiB", timeout=WAIT_MS)
        assert posted == []


def test_name_that_nobody_has_is_answered_in_the_service_s_words(
    browser: Browser, service: RunningServer, voice_samples: Path
) -> None:
    with opened(browser.new_context(), f"{service.url}/#verify/nobody-of-this-name") as found:
        found.page.get_by_label("Voice: choose a file").set_input_files(voice_samples / "librivox" / "0870.wav")
        expect(found.page.locator(".problem")).to_contain_text("There is no such subject", timeout=WAIT_MS)
        expect(found.page.locator(".verdict")).to_have_count(0)


def test_enrolment_without_the_consent_that_a_setting_requires_is_refused_until_it_is_given(
    browser: Browser, start_server: StartServer, voice_samples: Path, tmp_path: Path
) -> None:
    server = start_server(tmp_path / "data", MATCHKA_ENROLMENT_REQUIRES="consent")
    with opened(browser.new_context(), server.url) as found:
        page = found.page
        page.get_by_role("textbox", name="Name").fill("ada")
        page.get_by_label("Voice: choose a file").set_input_files(voice_samples / "librivox" / "0870.wav")
        page.get_by_role("button", name="Enrol", exact=True).click()
        expect(page.locator(".problem")).to_contain_text("consent", timeout=WAIT_MS)
        page.get_by_text("Consent, purpose and end").click()
        page.get_by_label("Reference to the consent").fill("<b>signed</b> 2026-11-22")
        page.get_by_label("Deleted by itself on").fill("2090-01-01")
        page.get_by_role("button", name="Enrol", exact=True).click()
        expect(page.get_by_role("heading", name="ada is enrolled")).to_be_visible(timeout=WAIT_MS)
    held = server.client().subject("ada")
    assert held.consent == "<b>signed</b> 2026-11-22"
    assert held.expires_at is not None


def test_html_in_a_name_is_shown_as_text(browser: Browser, service: RunningServer, voice_samples: Path) -> None:
    hostile = "<img src=x onerror=alert(1)>"
    with opened(browser.new_context(), service.url) as found:
        page = found.page
        page.get_by_role("textbox", name="Name").fill(hostile)
        page.get_by_label("Voice: choose a file").set_input_files(voice_samples / "librivox" / "0870.wav")
        page.get_by_role("button", name="Enrol", exact=True).click()
        expect(page.locator(".problem")).to_be_visible(timeout=WAIT_MS)
        page.goto(f"{service.url}/#verify/{hostile}")
        expect(page.get_by_label("Who is it said to be?")).to_have_value(hostile, timeout=WAIT_MS)
        page.get_by_label("Voice: choose a file").set_input_files(voice_samples / "librivox" / "0870.wav")
        expect(page.locator(".problem")).to_be_visible(timeout=WAIT_MS)
        assert page.locator("img[onerror]").count() == 0
        policy = page.request.get(service.url).headers["content-security-policy"]
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy


def test_text_cannot_become_code_on_the_page(browser: Browser, service: RunningServer) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(service.url)
    refused = page.evaluate(
        "() => { try { document.body.innerHTML = '<b>no</b>'; return ''; } catch (error) { return error.name; } }"
    )
    assert refused == "TypeError"
    assert page.evaluate("() => fetch('https://example.com').then(() => 'sent', () => 'refused')") == "refused"
    context.close()
