"""Where attacks happen: a served process with a first key, a vault, and keys of other tenants.

The bundle is one whose callers choose their embeddings themselves, so that no attacker can do better.
"""

import json
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from loadtests.client.caller import Answer, Caller
from loadtests.server import ServerProcess, started_server
from tests.factories.direct_embedder import DIM, sample_of, write_direct_bundle

MODEL, VICTIM = "direct", "victim"
TENANT = "default"
FIRST_KEY = "first-" + "k" * 32
DEFAULT_SCOPES = "enroll,verify,identify"
ALL_SCOPES = "all"
COMMAND_S = 120.0

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Scene:
    """One server with its victim.

    Attributes:
        folder: of its data, keys and log.
        server: it.
        template: unit length, of which VICTIM is enrolled.
    """

    folder: Path
    server: ServerProcess
    template: Vector

    def key(self, tenant: str = TENANT, scopes: str = DEFAULT_SCOPES) -> str:
        """The secret of a new key, once it is in force."""
        words = ["keys", "create", "attack", "--tenant", tenant, "--scopes", scopes, "--json"]
        made = subprocess.run(
            [sys.executable, "-m", "matchka", *words],
            env={**os.environ, **_variables(self.folder)},
            capture_output=True,
            check=True,
            timeout=COMMAND_S,
        )
        secret: str = json.loads(made.stdout)["key"]
        caller = self.caller(secret)
        while caller.get("models").status == 401:
            pass  # at most a second
        caller.close()
        return secret

    def caller(self, key: str) -> Caller:
        """Somebody who has a key."""
        return Caller(self.server.port, key)

    def cosine(self, guess: Vector) -> float:
        """Of a guess to the template; 0 where there is none."""
        length = float(np.linalg.norm(guess))
        return float(guess @ self.template / length) if length else 0.0


@contextmanager
def opened_scene(folder: Path, seed: int, models_dir: Path | None = None, vault: bool = True) -> Iterator[Scene]:
    """A server with its victim; the folder is made anew.

    Args:
        folder: of its data, keys and log.
        seed: of the template.
        models_dir: bundles that are served beside the one of the victim; none by default.
        vault: whether templates are encrypted.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    write_direct_bundle(folder / "models" / MODEL, MODEL)
    if models_dir is not None:
        for bundle in models_dir.iterdir():
            shutil.copytree(bundle, folder / "models" / bundle.name)
    if vault:
        master = folder / "master.key"
        master.touch(0o600)
        master.write_text(secrets.token_hex(32))
    template = unit(np.random.default_rng([seed, 99]).normal(size=DIM))
    with serving(folder) as server:
        scene = Scene(folder, server, template)
        enrol(scene.caller(FIRST_KEY), VICTIM, template)
        yield scene


@contextmanager
def serving(folder: Path) -> Iterator[ServerProcess]:
    """The server of a folder that opened_scene made."""
    with started_server(
        folder / "data", folder / "models", folder / "server.log", api_key=FIRST_KEY, **settings_of(folder)
    ) as server:
        yield server


def settings_of(folder: Path) -> dict[str, object]:
    """Settings of the vault, where the folder has one."""
    master = folder / "master.key"
    return {"master_key_file": master} if master.exists() else {}


def enrol(caller: Caller, subject_id: str, direction: Vector) -> Answer:
    """Enrol whoever's embedding is this.

    Raises: RuntimeError: it is refused.
    """
    answer = caller.post("enroll", [sample_of(direction)], model=MODEL, subject_id=subject_id)
    if answer.status != 201:
        raise RuntimeError(f"enroll answered {answer}")
    return answer


def unit(vector: Vector) -> Vector:
    """The same direction, of unit length."""
    scaled: Vector = vector / np.linalg.norm(vector)
    return scaled


def _variables(folder: Path) -> dict[str, str]:
    return {"MATCHKA_DATA_DIR": str(folder / "data"), "MATCHKA_MODELS_DIR": str(folder / "models")}
