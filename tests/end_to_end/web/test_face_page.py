"""The page with a camera: enrol, verify, and what it says of what it sees."""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Page, Playwright, expect

from tests.factories.browser import WAIT_MS, chromium, opened, sent_file, write_y4m
from tests.factories.server_process import RunningServer, StartServer

HOUR_MS = 3_600_000


@contextmanager
def page_that_sees(
    program: Playwright, service: RunningServer, folder: Path, pictures: list[Path], size: tuple[int, int] = (640, 480)
) -> Iterator[Page]:
    video = write_y4m(folder / f"{'-'.join(one.stem for one in pictures)}.y4m", pictures, size)
    with chromium(program, face=video) as browser, opened(browser.new_context(), service.url) as found:
        yield found.page


def start_camera(page: Page, view: str) -> None:
    page.get_by_role("link", name=view, exact=True).click()
    expect(page.get_by_role("heading", level=1, name=view)).to_be_visible(timeout=WAIT_MS)
    page.get_by_label("Face", exact=True).check()
    page.get_by_role("button", name="Start the camera").click()
    expect(page.locator("video")).to_be_visible(timeout=WAIT_MS)


def verify(page: Page, name: str) -> str:
    start_camera(page, "Verify")
    page.get_by_label("Who is it said to be?").fill(name)
    page.get_by_role("button", name="Take the picture and verify").click()
    box = page.locator(".verdict")
    expect(box).to_be_visible(timeout=WAIT_MS)
    expect(page.locator("video")).to_have_count(0)  # the camera is given back
    return str(box.get_attribute("data-verdict"))


def test_who_enrols_by_camera_matches_and_somebody_else_does_not(
    program: Playwright, service: RunningServer, face_samples: Path, tmp_path: Path
) -> None:
    first, other = face_samples / "obama" / "obama.jpg", face_samples / "obama" / "obama2.jpg"
    with page_that_sees(program, service, tmp_path, [first]) as page:
        start_camera(page, "People")
        expect(page.locator(".advice")).to_have_text("Good.", timeout=WAIT_MS)
        page.get_by_role("textbox", name="Name").fill("seen")
        page.get_by_role("button", name="Take the picture").click()
        expect(page.locator("ul.samples img")).to_have_count(1)
        page.get_by_role("button", name="Enrol", exact=True).click()
        expect(page.get_by_role("heading", name="seen is enrolled")).to_be_visible(timeout=WAIT_MS)
    with page_that_sees(program, service, tmp_path, [other]) as page:
        assert verify(page, "seen") == "good"
    with page_that_sees(program, service, tmp_path, [face_samples / "biden" / "biden.jpg"]) as page:
        assert verify(page, "seen") == "bad"
    service.client().delete_subject("seen")


@pytest.mark.parametrize(
    ("people", "advice"), [(["obama/obama.jpg", "obama/obama.jpg"], "Several faces"), ([], "No face")]
)
def test_camera_that_sees_nobody_or_several_is_told_and_does_not_stay_on(
    program: Playwright,
    service: RunningServer,
    face_samples: Path,
    tmp_path: Path,
    people: list[str],
    advice: str,
) -> None:
    Image.new("RGB", (64, 64), "grey").save(tmp_path / "grey.png")
    pictures = [face_samples / one for one in people] or [tmp_path / "grey.png"]
    with page_that_sees(program, service, tmp_path, pictures) as page:
        page.clock.install()
        start_camera(page, "Verify")
        expect(page.locator(".advice")).to_contain_text(advice, timeout=WAIT_MS)
        page.clock.fast_forward(HOUR_MS)
        expect(page.locator("video")).to_have_count(0, timeout=WAIT_MS)
        expect(page.locator(".problem")).to_contain_text("switched off", timeout=WAIT_MS)


def test_picture_of_a_camera_at_4k_is_sent_smaller(
    program: Playwright, service: RunningServer, face_samples: Path, tmp_path: Path
) -> None:
    picture = face_samples / "obama" / "obama.jpg"
    with page_that_sees(program, service, tmp_path, [picture], (3840, 2160)) as page:
        start_camera(page, "Identify")
        page.get_by_role("button", name="Take the picture and look").click()
        expect(page.locator(".verdict")).to_be_visible(timeout=WAIT_MS)
        sent = Image.open(io.BytesIO(sent_file(page)))
    assert sent.format == "JPEG"
    assert max(sent.size) <= 1280


def test_page_that_may_use_neither_microphone_nor_camera_says_so_and_takes_files(
    program: Playwright, service: RunningServer, voice_samples: Path
) -> None:
    with chromium(program, allowed=False) as browser, opened(browser.new_context(permissions=[]), service.url) as found:
        page = found.page
        page.get_by_role("button", name="Record", exact=True).click()
        expect(page.locator(".problem")).to_contain_text("may not use the microphone", timeout=WAIT_MS)
        page.get_by_label("Face", exact=True).check()
        page.get_by_role("button", name="Start the camera").click()
        expect(page.locator(".problem")).to_contain_text("may not use the camera", timeout=WAIT_MS)
        page.get_by_label("Voice", exact=True).check()
        page.get_by_role("textbox", name="Name").fill("by-file")
        page.get_by_label("Voice: choose a file").set_input_files(voice_samples / "librivox" / "0870.wav")
        page.get_by_role("button", name="Enrol", exact=True).click()
        expect(page.get_by_role("heading", name=re.compile("by-file is enrolled"))).to_be_visible(timeout=WAIT_MS)
    service.client().delete_subject("by-file")


def test_voice_and_face_together_match_and_the_part_that_does_not_is_named(
    program: Playwright, service: RunningServer, voice_samples: Path, face_samples: Path
) -> None:
    client, voices = service.client(), voice_samples / "librivox"
    client.enroll("both", [voices / "0870.wav"], model="voice")
    client.enroll("both", [face_samples / "obama" / "obama.jpg"], model="face")
    with chromium(program) as browser, opened(browser.new_context(), f"{service.url}/#verify/both") as found:
        page = found.page
        page.get_by_label("Voice and face together").check()
        for voice, face, verdict, lines in (
            (voices / "0880.wav", "obama/obama2.jpg", "good", "Match: this is both"),
            (voices / "0880.wav", "biden/biden.jpg", "bad", "The face is not both's."),
            (voice_samples / "forever" / "input_4_16k.wav", "obama/obama2.jpg", "bad", "The voice is not both's."),
        ):
            page.get_by_label("Voice: choose a file").set_input_files(voice)
            page.get_by_label("Face: choose a file").set_input_files(face_samples / face)
            page.get_by_role("button", name="Verify", exact=True).click()
            expect(page.locator(f".verdict.{verdict}")).to_contain_text(lines, timeout=WAIT_MS)
            expect(page.locator(".bars li")).to_have_count(3)
            expect(page.locator("ul.samples li")).to_have_count(0)  # what was sent is kept no longer
    client.delete_subject("both")


def test_every_face_of_a_picture_is_numbered_and_looked_up(
    program: Playwright, service: RunningServer, face_samples: Path, tmp_path: Path
) -> None:
    service.client().enroll("known", [face_samples / "obama" / "obama.jpg"], model="face")
    pictures = [Image.open(face_samples / one).convert("RGB") for one in ("obama/obama2.jpg", "biden/biden.jpg")]
    group = Image.new("RGB", (sum(one.width for one in pictures), max(one.height for one in pictures)), "grey")
    group.paste(pictures[0], (0, 0))
    group.paste(pictures[1], (pictures[0].width, 0))
    group.save(tmp_path / "group.png")
    with chromium(program) as browser, opened(browser.new_context(), f"{service.url}/#identify") as found:
        page = found.page
        page.get_by_label("Face", exact=True).check()
        page.get_by_label("Every face in the picture").check()
        page.get_by_label("Face: choose a file").set_input_files(tmp_path / "group.png")
        expect(page.get_by_role("img", name="The picture, with 2 faces numbered")).to_be_visible(timeout=WAIT_MS)
        expect(page.locator(".verdict.good h2")).to_have_text([re.compile(r"^[12]: known$")])
        expect(page.locator(".verdict.unsure h2")).to_have_text([re.compile(r"^[12]: Unknown$")])
        page.get_by_label("Every face in the picture").uncheck()
        page.get_by_label("Face: choose a file").set_input_files(face_samples / "obama" / "obama2.jpg")
        expect(page.locator(".verdict.good h2")).to_have_text("This is known", timeout=WAIT_MS)
    service.client().delete_subject("known")


def test_turn_of_the_head_is_offered_only_where_the_service_gives_it(
    program: Playwright, service: RunningServer
) -> None:
    with chromium(program) as browser, opened(browser.new_context(), f"{service.url}/#verify") as found:
        found.page.get_by_label("Face", exact=True).check()
        expect(found.page.get_by_label("Voice and face together")).to_be_visible(timeout=WAIT_MS)
        expect(found.page.get_by_label("Turn of the head (experimental)")).to_have_count(0)


def test_picture_that_does_not_move_fails_the_turn_of_the_head(
    program: Playwright, start_server: StartServer, face_samples: Path, tmp_path: Path
) -> None:
    server = start_server(tmp_path / "data", MATCHKA_HEAD_TURN="true")
    picture = face_samples / "obama" / "obama.jpg"
    server.client().enroll("still", [picture], model="face")
    with page_that_sees(program, server, tmp_path, [picture]) as page:
        page.get_by_role("link", name="Verify", exact=True).click()
        page.get_by_label("Who is it said to be?").fill("still")
        page.get_by_label("Face", exact=True).check()
        page.get_by_label("Turn of the head (experimental)").check()
        page.get_by_role("button", name="Begin").click()
        expect(page.locator(".phrase")).to_have_text("Look straight ahead", timeout=WAIT_MS)
        expect(page.locator(".verdict.bad, .problem")).to_contain_text(re.compile("turn|same file"), timeout=WAIT_MS)
        expect(page.locator("video")).to_have_count(0)
