"""The first minute, in a real browser: enrol by microphone, verify, try somebody else, delete."""

import io
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import soundfile
from playwright.sync_api import Page, Playwright, Request, expect

from tests.factories.browser import WAIT_MS, chromium, opened, sent_file
from tests.factories.server_process import RunningServer

ENOUGH = re.compile(r"^([4-9]|\d\d) s of speech")


@pytest.fixture(scope="module")
def page_of_reader(program: Playwright, service: RunningServer, voice_samples: Path) -> Iterator[Page]:
    """A page whose microphone hears a reader."""
    with (
        chromium(program, voice=voice_samples / "librivox" / "0870.wav") as browser,
        opened(browser.new_context(), service.url) as found,
    ):
        yield found.page


def open_view(page: Page, name: str) -> None:
    page.get_by_role("link", name=name, exact=True).click()
    expect(page.get_by_role("heading", level=1, name=name)).to_be_visible(timeout=WAIT_MS)


def record(page: Page, done: str) -> None:
    """Record until the page has heard enough, as a person would do."""
    page.get_by_role("button", name="Record", exact=True).click()
    expect(page.locator(".advice")).to_have_text(ENOUGH, timeout=WAIT_MS)
    page.get_by_role("button", name=done, exact=True).click()


def verify(page: Page, name: str) -> str:
    """The verdict on what the microphone hears."""
    open_view(page, "Verify")
    page.get_by_label("Who is it said to be?").fill(name)
    record(page, "Stop and verify")
    box = page.locator(".verdict")
    expect(box).to_be_visible(timeout=WAIT_MS)
    return str(box.get_attribute("data-verdict"))


def enrol(page: Page, name: str) -> None:
    open_view(page, "People")
    page.get_by_role("textbox", name="Name").fill(name)
    record(page, "Stop")
    page.get_by_role("button", name="Enrol", exact=True).click()
    expect(page.get_by_role("heading", name=f"{name} is enrolled")).to_be_visible(timeout=WAIT_MS)
    expect(page.locator(f'li[data-subject="{name}"]')).to_be_visible(timeout=WAIT_MS)


def test_who_enrols_by_microphone_matches_and_somebody_else_does_not(
    program: Playwright, service: RunningServer, page_of_reader: Page, voice_samples: Path
) -> None:
    enrol(page_of_reader, "reader")
    assert verify(page_of_reader, "reader") == "good"
    expect(page_of_reader.locator(".bars")).to_contain_text("needs")
    with (
        chromium(program, voice=voice_samples / "forever" / "input_4_16k.wav") as browser,
        opened(browser.new_context(), service.url) as other,
    ):
        assert verify(other.page, "reader") == "bad"
        open_view(other.page, "Identify")
        record(other.page, "Stop and look")
        expect(other.page.locator(".verdict.unsure")).to_contain_text("Unknown", timeout=WAIT_MS)
    open_view(page_of_reader, "Identify")
    record(page_of_reader, "Stop and look")
    expect(page_of_reader.locator(".verdict.good")).to_contain_text("This is reader", timeout=WAIT_MS)


def test_recording_is_sent_as_16_khz_mono_wav_and_only_when_it_is_wanted(
    service: RunningServer, page_of_reader: Page
) -> None:
    sent: list[Request] = []
    page_of_reader.on("request", lambda request: sent.append(request) if request.method == "POST" else None)
    open_view(page_of_reader, "People")
    page_of_reader.get_by_role("textbox", name="Name").fill("sent")
    record(page_of_reader, "Stop")
    expect(page_of_reader.locator("ul.samples audio")).to_have_count(1)
    assert sent == []
    page_of_reader.get_by_role("button", name="Enrol", exact=True).click()
    expect(page_of_reader.get_by_role("heading", name="sent is enrolled")).to_be_visible(timeout=WAIT_MS)
    expect(page_of_reader.locator("ul.samples audio")).to_have_count(0)
    assert len(sent) == 1
    samples, rate_hz = soundfile.read(io.BytesIO(sent_file(page_of_reader)))
    assert rate_hz == 16000
    assert samples.ndim == 1
    assert len(samples) >= 4 * rate_hz
    assert abs(samples).max() > 0.05  # the reader's voice, and not silence
    service.client().delete_subject("sent")


def test_phrase_that_is_not_said_fails_and_the_page_says_that_it_was_the_words(
    service: RunningServer, page_of_reader: Page
) -> None:
    enrol(page_of_reader, "speaker")
    open_view(page_of_reader, "Verify")
    page_of_reader.get_by_label("Who is it said to be?").fill("speaker")
    page_of_reader.get_by_label("Spoken phrase").check()
    page_of_reader.get_by_role("button", name="Get a phrase").click()
    phrase = page_of_reader.locator(".phrase")
    expect(phrase).to_have_text(re.compile(r"^(\w+ ){5}\w+$"), timeout=WAIT_MS)
    record(page_of_reader, "Stop and verify")
    expect(page_of_reader.locator(".verdict.bad, .problem")).to_contain_text(
        re.compile("not the phrase|too short|too long|last"), timeout=WAIT_MS
    )
    expect(phrase).to_have_text("")
    service.client().delete_subject("speaker")


def test_deleted_person_is_gone_from_the_list_and_the_service_once_it_was_confirmed(
    service: RunningServer, page_of_reader: Page
) -> None:
    enrol(page_of_reader, "leaver")
    page_of_reader.get_by_role("button", name="Delete leaver").click()
    page_of_reader.get_by_role("button", name="Cancel").click()
    assert "leaver" in {one.subject_id for one in service.client().subjects().subjects}
    page_of_reader.get_by_role("button", name="Delete leaver").click()
    page_of_reader.get_by_role("dialog").get_by_role("button", name="Delete", exact=True).click()
    expect(page_of_reader.locator('li[data-subject="leaver"]')).to_have_count(0, timeout=WAIT_MS)
    assert "leaver" not in {one.subject_id for one in service.client().subjects().subjects}


def test_person_who_was_deleted_in_another_tab_leaves_the_list_without_an_error(
    service: RunningServer, page_of_reader: Page
) -> None:
    enrol(page_of_reader, "twice")
    service.client().delete_subject("twice")
    page_of_reader.get_by_role("button", name="Delete twice").click()
    page_of_reader.get_by_role("dialog").get_by_role("button", name="Delete", exact=True).click()
    expect(page_of_reader.locator('li[data-subject="twice"]')).to_have_count(0, timeout=WAIT_MS)
    expect(page_of_reader.locator(".problem")).to_have_count(0)
