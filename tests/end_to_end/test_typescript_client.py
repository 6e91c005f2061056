"""A TypeScript client that is generated from the OpenAPI document compiles, and speaks with the service."""

import base64
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.factories.bundles import write_bundle
from tests.factories.samples import sample
from tests.factories.small_server import SmallServer, serving, small_settings

KEY = "0123456789abcdef0123"
PACKAGES = ("openapi-typescript@7.13.0", "openapi-fetch@0.17.0", "typescript@5.9.3")
LIMIT_S = 300
PROGRAM = """
import createClient from "openapi-fetch";
import type { paths } from "./schema";

declare const process: { argv: string[] };
const [, , baseUrl, key, clip] = process.argv;
const client = createClient<paths>({ baseUrl, headers: { Authorization: `Bearer ${key}` } });
const model = "voice";

const enrolled = await client.POST("/v1/enroll", { body: { model, subject_id: "ada", file: [clip] } });
const verified = await client.POST("/v1/verify", { body: { model, subject_id: "ada", file: [clip] } });
const refused = await client.GET("/v1/subjects/{subject_id}", { params: { path: { subject_id: "nobody" } } });
const embedded = await client.POST("/v1/embeddings", { body: { model, input: [clip], dimensions: 4 } });
const count: number | undefined = enrolled.data?.template_count;
const code: string | undefined = refused.error?.code;
console.log(JSON.stringify({
  count,
  code,
  location: enrolled.response.headers.get("Location"),
  match: verified.data?.match,
  dim: embedded.data?.data[0].embedding.length,
}));
"""
OPTIONS = {
    "compilerOptions": {
        "strict": True,
        "outDir": "out",
        "target": "es2022",
        "module": "esnext",
        "moduleResolution": "bundler",
        "lib": ["es2022", "dom"],
        "types": [],
    },
    "files": ["program.ts"],
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallServer]:
    """A server that needs a key, of one small model."""
    folder = tmp_path_factory.mktemp("typescript")
    write_bundle(folder / "models" / "voice")
    with serving(small_settings(folder, api_key=KEY)) as running:
        yield running


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the generator and the compiler."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed")
    folder = tmp_path_factory.mktemp("npm")
    (folder / "package.json").write_text('{"type": "module"}', encoding="utf-8")
    quiet = ("--no-audit", "--no-fund", "--ignore-scripts", "--fetch-retries=1", "--fetch-timeout=30000")
    try:
        done = run([npm, "install", *quiet, *PACKAGES], folder)
    except subprocess.TimeoutExpired:
        pytest.skip("the npm registry does not answer")
    if done.returncode:
        pytest.skip(f"npm could not install the generator: {done.stderr[-300:]}")
    return folder


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=LIMIT_S, check=False)


@pytest.mark.slow
@pytest.mark.network
def test_generated_typescript_client_compiles_and_is_answered(server: SmallServer, workshop: Path):
    headers = {"Authorization": f"Bearer {KEY}"}
    document = requests.get(f"{server.url}/openapi.json", headers=headers, timeout=60)
    (workshop / "openapi.json").write_bytes(document.content)
    (workshop / "program.ts").write_text(PROGRAM, encoding="utf-8")
    (workshop / "tsconfig.json").write_text(json.dumps(OPTIONS), encoding="utf-8")
    tools = workshop / "node_modules" / ".bin"
    generated = run([str(tools / "openapi-typescript"), "openapi.json", "-o", "schema.d.ts"], workshop)
    assert generated.returncode == 0, generated.stdout + generated.stderr
    compiled = run([str(tools / "tsc"), "-p", "."], workshop)
    assert compiled.returncode == 0, compiled.stdout + compiled.stderr
    clip = "data:audio/wav;base64," + base64.b64encode(sample(1, seconds=0.7)).decode()
    answered = run(["node", "out/program.js", server.url, KEY, clip], workshop)
    assert answered.returncode == 0, answered.stdout + answered.stderr
    assert json.loads(answered.stdout) == {
        "count": 1,
        "code": "unknown_subject",
        "location": "/v1/subjects/ada",
        "match": True,
        "dim": 4,
    }
