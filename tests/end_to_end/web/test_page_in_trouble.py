"""The page when things go wrong: keys, a service that goes away or cannot serve, huge files, hostile names."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import requests
import soundfile
from playwright.sync_api import Browser, Page, Playwright, expect

from tests.factories.browser import FAR, WAIT_MS, chromium, opened
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
        page.get_by_label("Voice: choose a file").set_input_files(voice_samples / "librivox" / "0890.wav")
        expect(page.get_by_role("dialog")).to_contain_text("not known", timeout=WAIT_MS)
    far = f"http://{FAR}:{server.url.rpartition(':')[2]}"  # by plain http, where browsers hold some things back
    with opened(context, far) as another:  # another tab knows no key
        expect(another.page.get_by_role("dialog")).to_contain_text("needs an API key", timeout=WAIT_MS)
        enter_key(another.page, KEY)
        another.page.get_by_role("button", name="Record", exact=True).click()
        expect(another.page.locator(".problem")).to_contain_text("only to pages over https", timeout=WAIT_MS)


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
        expect(page.locator(".problem")).to_contain_text("does not answer", timeout=WAIT_MS)
        start_server(tmp_path / "data", int(server.url.rpartition(":")[2]))
        expect(page.locator("#lost")).to_be_hidden(timeout=WAIT_MS)
        expect(page.get_by_text("Nobody yet.")).to_be_visible(timeout=WAIT_MS)
        expect(page.locator(".problem")).to_have_count(0)
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


def test_enrolment_that_a_setting_forbids_is_refused_and_the_page_says_what_helps(
    browser: Browser, start_server: StartServer, voice_samples: Path, tmp_path: Path
) -> None:
    server = start_server(tmp_path / "data", MATCHKA_ENROLMENT_REQUIRES="consent", MATCHKA_ON_DUPLICATE="refuse")
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
        page.get_by_role("textbox", name="Name").fill("eve")
        page.get_by_label("Voice: choose a file").set_input_files(voice_samples / "librivox" / "0890.wav")
        page.get_by_role("button", name="Enrol", exact=True).click()
        expect(page.locator(".problem")).to_contain_text("It looks like ada: add the sample", timeout=WAIT_MS)
    held = server.client().subject("ada")
    assert held.consent == "<b>signed</b> 2026-11-22"
    assert held.expires_at is not None


def test_samples_that_do_not_fit_are_left_out_or_refused_in_plain_words(
    browser: Browser, service: RunningServer, voice_samples: Path, tmp_path: Path
) -> None:
    soundfile.write(tmp_path / "silence.wav", np.zeros(64000), 16000)
    soundfile.write(tmp_path / "noise.wav", np.random.default_rng(1).normal(0, 0.05, 64000), 16000)
    reader, other = voice_samples / "librivox", voice_samples / "forever" / "input_4_16k.wav"
    with opened(browser.new_context(), service.url) as found:
        page = found.page
        name, files = page.get_by_role("textbox", name="Name"), page.get_by_label("Voice: choose a file")
        enrol = page.get_by_role("button", name="Enrol", exact=True)
        name.fill("ada")
        files.set_input_files([reader / "0870.wav", tmp_path / "silence.wav"])
        enrol.click()
        expect(page.locator(".verdict.unsure")).to_contain_text("Sample 2 was left out", timeout=WAIT_MS)
        expect(page.locator(".verdict.unsure")).to_contain_text("1 sample of voice")
        for sample, said in (
            (tmp_path / "silence.wav", "is silent"),
            (tmp_path / "noise.wav", "speech"),
            (other, "Is it the right name?"),
        ):
            name.fill("ada")
            files.set_input_files(sample)
            enrol.click()
            expect(page.locator(".problem")).to_contain_text(said, timeout=WAIT_MS)
            expect(page.locator(".problem")).not_to_contain_text("force")
            page.get_by_role("button", name="Throw").click()
    service.client().delete_subject("ada")


def test_html_in_a_name_is_shown_as_text(browser: Browser, service: RunningServer, voice_samples: Path) -> None:
    hostile = "<img src=x onerror=alert(1)>"
    with opened(browser.new_context(), service.url) as found:
        page = found.page
        page.get_by_role("textbox", name="Name").fill(hostile)
        page.get_by_label("Voice: choose a file").set_input_files(voice_samples / "librivox" / "0870.wav")
        page.get_by_role("button", name="Enrol", exact=True).click()
        expect(page.locator(".problem")).to_contain_text("Such as img-src-x-onerror-alert-1.", timeout=WAIT_MS)
        page.get_by_role("textbox", name="Name").fill("Ada Lovelace")
        page.get_by_role("button", name="Enrol", exact=True).click()
        expect(page.locator(".problem")).to_contain_text("no spaces. Such as Ada-Lovelace.", timeout=WAIT_MS)
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
