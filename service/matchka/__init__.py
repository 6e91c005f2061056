"""The matchka service: bytes -> decode -> media -> embed -> truncate + normalise -> gallery -> decision."""

import os

# ONNX Runtime reports to its maker unless this is set before its first import; nothing may leave this machine.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
