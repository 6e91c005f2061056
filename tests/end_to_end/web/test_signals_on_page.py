"""Radio and equalizer on the page: it draws what numpy and the client compute, and shows what the service answers."""

import json
import tarfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from playwright.sync_api import Page, Playwright, expect

from matchka.client.presets import filters_of, response_db
from tests.factories.browser import WAIT_MS, chromium, opened
from tests.factories.server_process import RunningServer

FFT_SIZE = 512
READ = """
    async ({bytes, name, format}) => {
      const {readSamples} = await import("/page/signals/recording.js");
      const read = await readSamples(new File([new Uint8Array(bytes)], name), format);
      return read && {i: Array.from(read.i), q: Array.from(read.q)};
    }
"""
SPECTRUM = """
    async ({i, q}) => {
      const {spectrumDb} = await import("/page/signals/spectrum.js");
      return Array.from(spectrumDb({i: Float32Array.from(i), q: Float32Array.from(q)}));
    }
"""
RESPONSE = """
    async ({setting, hz}) => {
      const {filtersOf, responseDb} = await import("/page/signals/equalizer.js");
      return hz.map((each) => responseDb(filtersOf(setting), each));
    }
"""
LEVEL = """
    async ({samples, rate}) => {
      const {Level} = await import("/page/capture/level.js");
      const level = new Level(rate);
      for (let n = 0; n < samples.length; n += 128) level.add(Float32Array.from(samples.slice(n, n + 128)));
      return {seconds: level.seconds, speech: level.speechSeconds, advice: level.advice(4)};
    }
"""


@pytest.fixture(scope="module")
def page(program: Playwright, service: RunningServer) -> Iterator[Page]:
    with chromium(program) as browser, opened(browser.new_context(), service.url) as found:
        yield found.page


def noise(count: int, seed: int = 1) -> NDArray[np.complex64]:
    drawn = np.random.default_rng(seed).standard_normal((count, 2)).astype(np.float32) / 4
    return drawn.view(np.complex64)[:, 0]


def as_integers(samples: NDArray[np.complex64]) -> NDArray[np.int16]:
    return np.round(samples.view(np.float32) * 32768).astype(np.int16)


def npy_of(samples: NDArray[Any]) -> bytes:
    written = BytesIO()
    np.save(written, samples)
    return written.getvalue()


def wav_of(channels: NDArray[Any], subtype: str) -> bytes:
    written = BytesIO()
    soundfile.write(written, channels.reshape(-1, 2), 48000, format="WAV", subtype=subtype)
    return written.getvalue()


def sigmf_of(samples: NDArray[np.complex64]) -> bytes:
    written = BytesIO()
    described = json.dumps({"global": {"core:datatype": "cf32_le"}, "captures": [], "annotations": []}).encode()
    with tarfile.open(fileobj=written, mode="w") as archive:
        for name, data in (("a/a.sigmf-meta", described), ("a/a.sigmf-data", samples.tobytes())):
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, BytesIO(data))
    return written.getvalue()


SAMPLES = noise(1000)


@pytest.mark.parametrize(
    ("name", "file", "step"),
    [
        ("a.cf32", SAMPLES.tobytes(), 0.0),
        ("a.ci16", as_integers(SAMPLES).tobytes(), 1 / 32768),
        ("a.cu8", np.rint((SAMPLES.view(np.float32) + 1) * 127.5).astype(np.uint8).tobytes(), 1 / 127),
        ("a.npy", npy_of(SAMPLES), 0.0),
        ("b.npy", npy_of(SAMPLES.astype(np.complex128)), 0.0),
        ("a.wav", wav_of(SAMPLES.view(np.float32), "FLOAT"), 0.0),
        ("b.wav", wav_of(as_integers(SAMPLES), "PCM_16"), 1 / 32768),
        ("a.sigmf", sigmf_of(SAMPLES), 0.0),
    ],
)
def test_recording_of_each_format_is_read_as_numpy_reads_it(page: Page, name: str, file: bytes, step: float) -> None:
    read = page.evaluate(READ, {"bytes": list(file), "name": name, "format": ""})
    np.testing.assert_allclose(np.array(read["i"]) + 1j * np.array(read["q"]), SAMPLES, atol=1e-7 + step)


@pytest.mark.parametrize(
    "file", [b"", b"\x93NUMPY\x01\x00\xff\xff", b"RIFF", b"RIFF\0\0\0\0WAVEfmt \xff\xff\xff\xff", b"x" * 700]
)
@pytest.mark.parametrize("name", ["a.npy", "a.wav", "a.sigmf", "a.txt"])
def test_file_that_is_no_recording_is_not_drawn(page: Page, name: str, file: bytes) -> None:
    assert page.evaluate(READ, {"bytes": list(file), "name": name, "format": ""}) is None


def test_spectrum_is_the_averaged_windowed_periodogram(page: Page) -> None:
    carrier = np.exp(2j * np.pi * 0.125 * np.arange(4096)).astype(np.complex64)
    samples = noise(4096, 2) + carrier
    found = page.evaluate(SPECTRUM, {"i": samples.real.tolist(), "q": samples.imag.tolist()})
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(FFT_SIZE) / FFT_SIZE)
    pieces = [samples[start : start + FFT_SIZE] for start in range(0, 4096 - FFT_SIZE + 1, FFT_SIZE // 2)]
    power = sum(abs(np.fft.fftshift(np.fft.fft(piece * window))) ** 2 for piece in pieces)
    np.testing.assert_allclose(found, 10 * np.log10(power / np.max(power)), atol=1e-6)
    assert int(np.argmax(found)) == FFT_SIZE * 5 // 8  # an eighth of the sample rate above 0


def test_response_of_a_setting_is_the_one_that_the_client_draws(page: Page, service: RunningServer) -> None:
    setting = service.client().generate("bright", 0.7).parameters
    hz = np.geomspace(20, 20000, 50)
    found = page.evaluate(RESPONSE, {"setting": setting, "hz": hz.tolist()})
    np.testing.assert_allclose(found, [response_db(filters_of(setting), each) for each in hz], atol=1e-9)


@pytest.mark.parametrize(
    ("gain", "advice"), [(0.3, "about 2 s more"), (0.008, "Quiet"), (3.0, "Too loud"), (0.0, "Nothing is heard")]
)
def test_level_counts_the_seconds_that_are_loud_and_says_what_to_do(page: Page, gain: float, advice: str) -> None:
    """Two seconds of a tone in four seconds of near silence."""
    rate = 16000
    tone = gain * np.sin(2 * np.pi * 220 * np.arange(2 * rate) / rate)
    samples = np.concatenate([np.zeros(rate), tone, np.zeros(rate)]).clip(-1, 1)
    found = page.evaluate(LEVEL, {"samples": samples.tolist(), "rate": rate})
    assert found["seconds"] == 4.0
    assert found["speech"] == pytest.approx(2.0 if gain else 0.0, abs=0.05)
    assert advice in found["advice"]


def test_dropped_recording_is_drawn_and_classified_as_the_service_says(
    page: Page, service: RunningServer, tmp_path: Path
) -> None:
    symbols = np.random.default_rng(3).choice(np.array([1, -1]), 600)  # BPSK, eight samples a symbol
    samples = (np.repeat(symbols, 8) + 0.05 * noise(4800)).astype(np.complex64)
    path = tmp_path / "signal.cf32"
    path.write_bytes(samples.tobytes())
    said = service.client().classify(path, sample_format="cf32")
    page.get_by_role("link", name="Radio", exact=True).click()
    page.get_by_label("Radio signal: choose a file").set_input_files(path)
    expect(page.locator(".verdict h2")).to_have_text(said.label or "Unknown", timeout=WAIT_MS)
    expect(page.locator(".bars li").first).to_contain_text(said.classes[0].label)
    expect(page.get_by_role("img", name="Constellation of 4800 samples")).to_be_visible()
    expect(page.get_by_role("img", name="Power over frequency")).to_be_visible()


def test_equalizer_follows_its_sliders(page: Page, service: RunningServer) -> None:
    page.get_by_role("link", name="Equalizer", exact=True).click()
    page.get_by_label("Word").select_option("bright")
    page.get_by_role("slider", name="Strength").fill("0.5")
    expect(page.get_by_role("img", name="Response: bright, strength 0.5")).to_be_visible(timeout=WAIT_MS)
    page.get_by_role("button", name="Take this as B").click()
    page.get_by_role("slider", name="From A to B").fill("1")
    expect(page.get_by_role("img", name="Response: between A and B, 1 of the way")).to_be_visible(timeout=WAIT_MS)
    page.get_by_text("The numbers").click()
    setting = service.client().generate("bright", 0.5).parameters
    shown = page.get_by_role("row", name="peak1_gain_db").get_by_role("cell").inner_text()
    assert float(shown.removesuffix(" dB")) == pytest.approx(setting["peak1_gain_db"], rel=1e-3)
