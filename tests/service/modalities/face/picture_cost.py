"""What reading a picture costs a process.

    python -m tests.service.modalities.face.picture_cost MODELS_DIR CHOICE FILE...

One line of JSON for each file: the code it was refused with, or null; how far the resident memory rose above what it
was before this file, and how far it is afterwards above what it was before the first one; the processor time. The face
bundle's own networks look at each picture.
"""

import json
import re
import sys
import time
from pathlib import Path
from typing import get_args

from matchka.api.problems import status_and_code
from matchka.bundles.bundle import read_bundle
from matchka.errors import MatchkaError
from matchka.inference.model import open_model
from matchka.modalities.face.reader import FaceChoice
from matchka.settings import read_settings


def resident_mib(name: str) -> float:
    """A line of /proc/self/status, in MiB: VmRSS, resident now; VmHWM, the most since the mark was reset."""
    (kib,) = re.findall(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(kib) / 1024


def main(models_dir: Path, choice: FaceChoice, files: list[Path]) -> None:
    """Read each file as the service does, with its default limits."""
    model = open_model(read_bundle(models_dir / "face"), read_settings({}, models_dir=models_dir))
    at_first = resident_mib("VmRSS")
    for file in files:
        Path("/proc/self/clear_refs").write_text("5")  # the mark begins again at what is resident now
        before = resident_mib("VmRSS")
        data, code = file.read_bytes(), None
        started = time.process_time()
        try:
            model.reader.read(data, model.options_for("probe", {"face": choice}))
        except MatchkaError as error:
            code = status_and_code(error)[1]
        seconds, growth = time.process_time() - started, resident_mib("VmHWM") - before
        del data
        kept = resident_mib("VmRSS") - at_first
        row = {"name": file.name, "code": code, "growth_mib": growth, "kept_mib": kept, "cpu_s": seconds}
        sys.stdout.write(json.dumps(row) + "\n")
        sys.stdout.flush()
    model.close()


if __name__ == "__main__":
    (chosen,) = [choice for choice in get_args(FaceChoice) if choice == sys.argv[2]]
    main(Path(sys.argv[1]), chosen, [Path(name) for name in sys.argv[3:]])
