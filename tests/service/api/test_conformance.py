"""Whatever a generator makes of the OpenAPI document, the service answers as the document says."""

import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.factories.classifiers import write_classifier
from tests.factories.parameters import write_parameters_bundle
from tests.factories.samples import sample
from tests.factories.small_server import SmallServer, serving, small_settings
from tests.factories.spoken_tones import write_phoneme_bundle

KEY = "0123456789abcdef0123"
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
    "ignored_auth",
    "missing_required_header",
    "allow_header_conformance",
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallServer]:
    """A server that needs a key and knows ada, of models that embed and classify, hear phones and return settings."""
    folder = tmp_path_factory.mktemp("conformance")
    write_classifier(folder / "models" / "voice", "voice", embeds=True)
    write_phoneme_bundle(folder / "models" / "phonemes")
    write_parameters_bundle(folder / "models" / "tone", "tone")
    with serving(small_settings(folder, api_key=KEY)) as running:
        running.client(KEY).enroll("ada", [sample(1)])
        yield running


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("schemathesis") is None, reason="schemathesis is not installed (extra test)"
)
def test_generated_requests_are_answered_as_the_document_says(server: SmallServer, tmp_path: Path):
    headers = {"Authorization": f"Bearer {KEY}"}
    document = requests.get(f"{server.url}/openapi.json", headers=headers, timeout=60).json()
    (tmp_path / "openapi.json").write_text(json.dumps(document), encoding="utf-8")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "run", "openapi.json", "--url", server.url),
            *("--header", f"Authorization: Bearer {KEY}", "--checks", ",".join(CHECKS)),
            *("--phases", "examples,coverage", "--mode", "positive"),
            *("--generation-deterministic", "--suppress-health-check", "all", "--request-timeout", "60"),
            *("--continue-on-failure", "--warnings", "off", "--no-color"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=540,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"Tested: {sum(map(len, document['paths'].values()))}" in done.stdout
