"""A sample from a device of this machine, taken by a program that the machine has: none of ours talks to devices."""

import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from matchka.errors import MatchkaError

LOOK_S: Final = 0.1  # between two looks at what there is so far
GRACE_S: Final = 15.0  # for a program to open its device and to write its file
INSTEAD: Final = "or name a file that was made by other means."


@dataclass(frozen=True)
class Device:
    """Something that takes samples.

    Attributes:
        name: for people.
        file: into which its programs write.
        programs: program -> its arguments for a sample of so many seconds into a file, the one that is preferred first.
        error: where it cannot be used.
    """

    name: str
    file: str
    programs: Mapping[str, Callable[[Path, int], Sequence[str]]]
    error: type[MatchkaError]

    def require(self) -> str:
        """The program that is preferred of those that are installed.

        Raises: MatchkaError: of the device's class; none that is known is.
        """
        program = next((known for known in self.programs if shutil.which(known)), None)
        if program is None:
            raise self.error(
                f"No program that uses a {self.name} is installed.",
                value=", ".join(self.programs),
                remedy=f"Install one of them, {INSTEAD}",
            )
        return program

    def take(self, seconds: int, watch: Callable[[Path, float], None]) -> bytes:
        """Take a sample.

        Args:
            seconds: how long it lasts; 0 for a picture.
            watch: called ten times a second with the file, which need not be there yet, and the seconds passed.

        Returns: the file's bytes.

        Raises: MatchkaError: of the device's class; no program that is known is installed, or it fails.
        """
        program = self.require()
        with tempfile.TemporaryDirectory(prefix="matchka-sample-") as folder:
            path = Path(folder) / self.file
            command = [str(shutil.which(program)), *self.programs[program](path, seconds)]
            said = self._run(command, path, seconds, watch)
            if said is not None or not path.is_file():
                raise self.error(
                    f"{program} took nothing from the {self.name}.",
                    value=said,
                    remedy=f"Check the {self.name}, {INSTEAD}",
                )
            return path.read_bytes()

    def _run(self, command: list[str], path: Path, seconds: int, watch: Callable[[Path, float], None]) -> str | None:
        """Run a program to its end. Returns: what it says of its failure; None where it succeeds."""
        began = time.monotonic()
        with subprocess.Popen(  # noqa: S603 - a program of our table
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        ) as process:
            try:
                while True:
                    try:
                        _, said = process.communicate(timeout=LOOK_S)
                        break
                    except subprocess.TimeoutExpired:
                        passed_s = time.monotonic() - began
                        if passed_s > seconds + GRACE_S:
                            return f"nothing in {passed_s:.0f} s"
                        watch(path, passed_s)
            finally:
                process.kill()  # Ctrl-C ends the recording too; nothing where it has ended
        return (said.strip() or f"status {process.returncode}") if process.returncode else None
