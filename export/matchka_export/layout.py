"""Names and the version that all exported bundles share; imports nothing heavy, so that a quick check stays quick."""

from typing import Final

REPORT_NAME: Final = "report.json"  # the measurements, beside the manifest
BASE_VERSION: Final = "1.0.0"  # raised by hand when code changes what an embedding is (docs/decisions/031)
