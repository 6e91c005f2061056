"""Containers out of an unpacked image: runc runs them with the rights and limits that the deployment files ask for."""

import json
import os
import subprocess
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

READ_ONLY = ["rbind", "ro"]
WRITABLE = ["rbind", "rw"]
MIB = 2**20
# of every container engine
SYSTEM_MOUNTS = [
    {"destination": "/proc", "type": "proc", "source": "proc"},
    {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "strictatime", "mode=755"]},
    {"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": ["nosuid", "noexec", "nodev"]},
]


@dataclass(frozen=True)
class Image:
    """Attributes: root: its file system. config: its user, environment, command and health check."""

    root: Path
    config: Mapping[str, Any]

    @property
    def user(self) -> int:
        return int(self.config["User"])

    @property
    def environment(self) -> dict[str, str]:
        return dict(line.split("=", 1) for line in self.config["Env"])

    @property
    def command(self) -> list[str]:
        return [*self.config["Entrypoint"], *self.config["Cmd"]]


@dataclass(frozen=True)
class Container:
    """A container that runs.

    Attributes:
        name: of it.
        process: of its runtime, which ends as it does.
        log: where its output goes.
    """

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def run(self, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """A command in the container, as its user and with its environment and `variables`."""
        given = [argument for name, value in variables.items() for argument in ("--env", f"{name}={value}")]
        executed = ["runc", "exec", *given, self.name, *command]
        return subprocess.run(executed, capture_output=True, text=True, check=False, timeout=300)

    def stop(self) -> int:
        """SIGTERM, and the exit status."""
        subprocess.run(["runc", "kill", self.name, "TERM"], check=True)
        return self.process.wait(300)


@dataclass(frozen=True)
class Wanted:
    """How a container is to be run.

    Attributes:
        folder: for what belongs to it; made.
        command: the image's own by default.
        variables: beside the image's.
        volumes: folders of this machine by where they are seen.
        shown: the same, files and folders that are read only.
        is_read_only: whether the root is.
        memory_mib: what the container may have, swap included.
    """

    folder: Path
    command: Sequence[str] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    volumes: Mapping[str, Path] = field(default_factory=dict)
    shown: Mapping[str, Path] = field(default_factory=dict)
    is_read_only: bool = True
    memory_mib: int = 3072


def new_volume(folder: Path, user: int, group: int, rights: int = 0o700) -> Path:
    """An empty folder of a user and a group."""
    folder.mkdir(parents=True)
    os.chown(folder, user, group)
    folder.chmod(rights)
    return folder


@contextmanager
def running(image: Image, wanted: Wanted) -> Iterator[Container]:
    """A container; it and all of it are gone at the end of the block."""
    wanted.folder.mkdir(parents=True, exist_ok=True)
    name = f"matchka-image-{uuid.uuid4().hex[:12]}"
    (wanted.folder / "config.json").write_text(json.dumps(specification(image, wanted, name)), encoding="utf-8")
    log = wanted.folder / "output.log"
    with log.open("wb") as output:
        command = ["runc", "run", "--bundle", str(wanted.folder), name]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield Container(name, process, log)
    finally:
        subprocess.run(["runc", "delete", "--force", name], capture_output=True, check=False)
        process.wait(60)


def specification(image: Image, wanted: Wanted, name: str) -> dict[str, Any]:
    """The runtime's config.json: no capabilities, no new privileges, the image's user, this machine's network."""
    variables = {**image.environment, "HOME": "/", **wanted.variables}
    bound = [
        {"destination": inside, "type": "bind", "source": str(path), "options": options}
        for places, options in ((wanted.volumes, WRITABLE), (wanted.shown, READ_ONLY))
        for inside, path in places.items()
    ]
    memory = wanted.memory_mib * MIB
    return {
        "ociVersion": "1.0.2",
        "hostname": "matchka",
        "root": {"path": str(image.root), "readonly": wanted.is_read_only},
        "process": {
            "user": {"uid": image.user, "gid": image.user},
            "args": [*(wanted.command or image.command)],
            "env": [f"{key}={value}" for key, value in variables.items()],
            "cwd": image.config["WorkingDir"],
            "capabilities": {kind: [] for kind in ("bounding", "effective", "permitted", "inheritable", "ambient")},
            "noNewPrivileges": True,
        },
        "mounts": [*SYSTEM_MOUNTS, *bound],
        "linux": {
            "cgroupsPath": f"/{name}",
            "namespaces": [{"type": kind} for kind in ("pid", "ipc", "uts", "mount")],
            "resources": {"memory": {"limit": memory, "swap": memory}, "pids": {"limit": 512}},
            "maskedPaths": ["/proc/kcore", "/proc/keys", "/proc/timer_list"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    }
