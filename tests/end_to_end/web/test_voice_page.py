"""The first minute, in a real browser: enrol by microphone, verify, try somebody else, delete."""

import io
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import soundfile
from playwright.sync_api import Page, Playwright, Request, expect
from typer.testing import CliRunner

from matchka.cli.main import app
from tests.factories.browser import WAIT_MS, chromium, opened, sent_file
from tests.factories.bundles import write_bundle
from tests.factories.samples import encoded
from tests.factories.server_process import RunningServer
from tests.factories.small_server import serving, small_settings
from tests.factories.spoken_tones import spoken, write_phoneme_bundle

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
    expect(page.locator(".advice")).not_to_be_empty(timeout=WAIT_MS)
    meter = page.locator(".meter").bounding_box()
    assert meter is not None
    assert meter["width"] > 100  # px
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


def test_phrase_that_is_not_said_fails_and_the_page_tells_the_words_from_the_person(
    service: RunningServer, page_of_reader: Page, voice_samples: Path
) -> None:
    wrong_words, wrong_person = "The words were not the phrase", "It is not speaker"
    service.client().enroll("speaker", sorted((voice_samples / "librivox").glob("*.wav"))[:2])
    open_view(page_of_reader, "Verify")
    page_of_reader.get_by_label("Who is it said to be?").fill("speaker")
    page_of_reader.get_by_label("Spoken phrase").check()
    page_of_reader.get_by_role("button", name="Get a phrase").click()
    phrase = page_of_reader.locator(".phrase")
    expect(phrase).to_have_text(re.compile(r"^(\w+ ){5}\w+$"), timeout=WAIT_MS)
    file = page_of_reader.get_by_label("Voice: choose a file")
    file.set_input_files(voice_samples / "librivox" / "0890.wav")
    box = page_of_reader.locator(".verdict.bad")
    expect(box).to_contain_text(wrong_words, timeout=WAIT_MS)
    expect(box).not_to_contain_text(wrong_person)
    expect(box).to_contain_text("The voice is speaker's.")
    expect(phrase).to_have_text("")
    page_of_reader.get_by_role("button", name="Another phrase").click()
    file.set_input_files(voice_samples / "forever" / "input_4_16k.wav")
    expect(box).to_contain_text(wrong_person, timeout=WAIT_MS)
    expect(box).to_contain_text(wrong_words)
    service.client().delete_subject("speaker")


def test_phrase_that_is_said_matches_and_is_asked_for_only_with_a_name(page_of_reader: Page, tmp_path: Path) -> None:
    """With a model that hears tones: nobody was recorded who says words at random."""
    write_bundle(tmp_path / "models" / "voice")
    write_phoneme_bundle(tmp_path / "models" / "phonemes")
    with serving(small_settings(tmp_path)) as small, opened(page_of_reader.context, f"{small.url}/#verify") as found:
        small.client().enroll("ada", [encoded(spoken(["saasaa", "taataa", "siysiy"]), subtype="FLOAT")])
        page = found.page
        page.get_by_label("Spoken phrase").check()
        page.get_by_role("button", name="Get a phrase").click()
        expect(page.locator(".verdict.unsure")).to_contain_text("Who is it said to be?", timeout=WAIT_MS)
        page.get_by_label("Who is it said to be?").fill("ada")
        page.get_by_text("Strictness and size").click()
        page.get_by_label("Of those who are not this person").select_option("0.1")
        page.get_by_role("button", name="Get a phrase").click()
        expect(page.locator(".phrase")).to_have_text(re.compile(r"^(\w+ ){5}\w+$"), timeout=WAIT_MS)
        said = encoded(spoken(page.locator(".phrase").inner_text().split()), subtype="FLOAT")
        file = {"name": "said.wav", "mimeType": "audio/wav", "buffer": said}
        page.get_by_label("Voice: choose a file").set_input_files(files=[file])  # type: ignore[list-item]
        expect(page.locator(".verdict.good")).to_contain_text("Match: this is ada", timeout=WAIT_MS)


def test_sample_without_a_name_waits_for_it(service: RunningServer, page_of_reader: Page, voice_samples: Path) -> None:
    service.client().enroll("named", [voice_samples / "librivox" / "0870.wav"])
    open_view(page_of_reader, "Identify")  # what the field had before is gone
    open_view(page_of_reader, "Verify")
    page_of_reader.get_by_label("Voice: choose a file").set_input_files(voice_samples / "librivox" / "0880.wav")
    expect(page_of_reader.locator(".verdict.unsure")).to_contain_text("kept until then", timeout=WAIT_MS)
    page_of_reader.get_by_label("Who is it said to be?").fill("nam")
    page_of_reader.get_by_label("Who is it said to be?").press("Tab")  # half a name is no claim
    page_of_reader.get_by_label("Who is it said to be?").fill("named")
    expect(page_of_reader.locator(".verdict.unsure")).to_contain_text("kept until then")
    page_of_reader.get_by_label("Who is it said to be?").press("Enter")
    expect(page_of_reader.locator(".verdict.good")).to_contain_text("Match: this is named", timeout=WAIT_MS)
    page_of_reader.get_by_label("Who is it said to be?").fill("")
    page_of_reader.get_by_label("Voice: choose a file").set_input_files(voice_samples / "librivox" / "0920.wav")
    page_of_reader.get_by_label("Who is it said to be?").fill("named")
    page_of_reader.get_by_role("button", name="Verify it now").click()
    expect(page_of_reader.locator(".verdict.good")).to_contain_text("Match: this is named", timeout=WAIT_MS)
    service.client().delete_subject("named")


def test_phrases_that_are_asked_for_too_often_are_refused_with_the_time_to_wait(
    service: RunningServer, page_of_reader: Page, voice_samples: Path
) -> None:
    service.client().enroll("eager", [voice_samples / "librivox" / "0870.wav"])
    for _ in range(3):
        service.client().challenge("eager")
    with opened(page_of_reader.context, f"{service.url}/#verify/eager") as found:
        found.page.get_by_label("Spoken phrase").check()
        found.page.get_by_role("button", name="Get a phrase").click()
        expect(found.page.locator(".problem")).to_have_text(re.compile(r"Try again in \d+ s\."), timeout=WAIT_MS)
    service.client().delete_subject("eager")


def test_phrase_counts_its_time_down_and_goes_when_it_is_over(
    service: RunningServer, page_of_reader: Page, voice_samples: Path
) -> None:
    service.client().enroll("late", [voice_samples / "librivox" / "0870.wav"])
    with opened(page_of_reader.context, f"{service.url}/#verify/late") as found:
        page = found.page
        page.get_by_label("Spoken phrase").check()
        page.clock.install()
        page.get_by_role("button", name="Get a phrase").click()
        expect(page.get_by_text(re.compile(r"^\d+ s left$"))).to_be_visible(timeout=WAIT_MS)
        expect(page.locator(".phrase")).not_to_be_empty()
        page.clock.fast_forward(700_000)  # ms, longer than a phrase lives
        expect(page.get_by_text("The time for this phrase is over.")).to_be_visible(timeout=WAIT_MS)
        expect(page.locator(".phrase")).to_be_empty()
        expect(page.get_by_role("button", name="Record", exact=True)).to_have_count(0)
    service.client().delete_subject("late")


def test_deleted_person_is_gone_once_it_was_confirmed_and_leaves_a_receipt(
    service: RunningServer, page_of_reader: Page, tmp_path: Path
) -> None:
    enrol(page_of_reader, "leaver")
    page_of_reader.get_by_role("button", name="Delete leaver").click()
    page_of_reader.get_by_role("button", name="Cancel").click()
    assert "leaver" in {one.subject_id for one in service.client().subjects().subjects}
    page_of_reader.get_by_role("button", name="Delete leaver").click()
    page_of_reader.get_by_role("dialog").get_by_role("button", name="Delete", exact=True).click()
    expect(page_of_reader.locator('li[data-subject="leaver"]')).to_have_count(0, timeout=WAIT_MS)
    assert "leaver" not in {one.subject_id for one in service.client().subjects().subjects}
    with page_of_reader.expect_download() as download:
        page_of_reader.get_by_role("link", name="Save the receipt").click()
    assert "leaver" not in download.value.suggested_filename
    download.value.save_as(tmp_path / "receipt.json")
    checked = CliRunner().invoke(app, ["receipt", "verify", str(tmp_path / "receipt.json"), "--url", service.url])
    assert checked.exit_code == 0, checked.output


def test_person_who_was_deleted_in_another_tab_leaves_the_list_without_an_error(
    service: RunningServer, page_of_reader: Page
) -> None:
    enrol(page_of_reader, "twice")
    service.client().delete_subject("twice")
    page_of_reader.get_by_role("button", name="Delete twice").click()
    page_of_reader.get_by_role("dialog").get_by_role("button", name="Delete", exact=True).click()
    expect(page_of_reader.locator('li[data-subject="twice"]')).to_have_count(0, timeout=WAIT_MS)
    expect(page_of_reader.locator(".problem")).to_have_count(0)
