"""Radio recordings over HTTP: embedded, enrolled, verified, identified and compared like any sample, or refused."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import requests

from matchka.errors import RequestFailedError
from tests.factories.graphs import FULL_DIM
from tests.factories.radio_bundle import BANDS, BIAS, MIX, slow_windows, write_radio_bundle
from tests.factories.recordings import cf32, ci16, npy, sigmf, signal, tar, wav
from tests.factories.slow_embedding import cosine
from tests.factories.small_server import SmallServer, serving, small_settings


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallServer]:
    """A server of one model for recordings, whose limits are settings."""
    folder = tmp_path_factory.mktemp("iq")
    write_radio_bundle(folder / "models" / "radio")
    limits = {"iq": {"max_samples": "2000", "max_clipped": "0.02"}}
    with serving(small_settings(folder, modalities=limits)) as running:
        yield running


def embedding_of(samples: np.ndarray) -> np.ndarray:
    """The mean over the windows of what the test graph makes of each, in float64."""
    rows = [np.abs(row @ BANDS.astype(np.float64)) @ MIX + BIAS for row in slow_windows(samples)]
    return np.mean(rows, axis=0)


def test_recording_is_embedded_as_the_mean_of_its_windows_whatever_its_format(server: SmallServer):
    client, samples = server.client(), signal(3)
    expected = embedding_of(samples) / np.linalg.norm(embedding_of(samples))
    answers = [
        client.embed([npy(samples), wav(samples), sigmf(cf32(samples))], "radio"),
        client.embed([cf32(samples)], "radio", sample_format="cf32"),
    ]
    assert [answer.row_counts for answer in answers] == [[4, 4, 4], [4]]
    for vector in (*answers[0].embeddings, *answers[1].embeddings):
        np.testing.assert_allclose(np.asarray(vector, np.float64), expected, atol=2e-5)
    assert len(expected) == FULL_DIM
    assert answers[0].faces is None


def test_waveform_is_enrolled_verified_compared_and_identified(server: SmallServer):
    client, first, again, other = server.client(), signal(1), signal(2), signal(3, offset=2)
    enrolled = client.enroll("tag", [ci16(first), ci16(again)], "radio", sample_format="ci16")
    assert enrolled.template_count == 2
    client.enroll("gate", [npy(other)], "radio")
    units = [embedding_of(one) / np.linalg.norm(embedding_of(one)) for one in (first, again)]
    similarity = client.verify("tag", npy(signal(5)), "radio").similarity
    assert similarity == pytest.approx(cosine(np.mean(units, axis=0), embedding_of(signal(5))), abs=1e-4)
    compared = client.compare(npy(first), npy(other), "radio", dim=4)
    assert compared.similarity == pytest.approx(cosine(embedding_of(first), embedding_of(other), 4), abs=1e-4)
    found = client.identify(cf32(signal(6, offset=2)), "radio", sample_format="cf32")
    assert found.candidates[0].subject_id == "gate"
    assert {one.subject_id for one in found.candidates} == {"tag", "gate"}
    with pytest.raises(RequestFailedError) as refused:
        client.enroll("gate", [npy(other)], "radio")
    assert refused.value.code == "duplicate_sample"


LOUD = np.clip(9 * signal(4).real, -1, 1) + 0.1j
REFUSED: dict[str, tuple[bytes, str]] = {
    "not_recording": (b"x" * 2000, "sample_format"),
    "bad_recording_header": (tar({"readme": b"x"}), "SigMF"),
    "unsupported_sample_type": (npy(signal(4).real), "(n, 2)"),
    "bad_sample_length": (npy(signal(4)) + b"x", "announces"),
    "truncated_file": (npy(signal(4))[:-1], "ends before"),
    "unsafe_archive": (tar({"../a.sigmf-meta": b"{}"}), "stay inside"),
    "sha512_mismatch": (sigmf(cf32(signal(4)), sha512="0"), "core:sha512"),
    "recording_too_short": (npy(signal(4)[:100]), "at least 128"),
    "recording_too_long": (npy(signal(4, 2001)), "at most 2000"),
    "non_finite_recording": (npy(signal(4) * np.float32("nan")), "NaN"),
    "implausible_samples": (npy(signal(4) * np.float32(1e20)), "sample_format"),
    "no_signal": (npy(np.zeros(512, np.complex64)), "zero"),
    "clipped_recording": (npy(LOUD.astype(np.complex64)), "At most 2 %"),
    "empty_file": (b"", "0 bytes"),
}


@pytest.mark.parametrize("call", ["classify", "identify"])
@pytest.mark.parametrize("code", REFUSED)
def test_recording_that_is_refused_is_answered_with_a_code_that_the_call_declares(
    server: SmallServer, code: str, call: str
):
    data, told = REFUSED[code]
    answer = requests.post(f"{server.url}/v1/{call}", data={"model": "radio"}, files={"file": ("f", data)}, timeout=60)
    problem: dict[str, Any] = answer.json()
    assert (answer.status_code, problem["code"]) == (422, code)
    assert told in problem["detail"] + problem["remedy"]
    document = requests.get(f"{server.url}/openapi.json", timeout=60).json()
    declared = document["paths"][f"/v1/{call}"]["post"]["responses"]["422"]["content"]["application/problem+json"]
    assert code in declared["schema"]["properties"]["code"]["enum"]
