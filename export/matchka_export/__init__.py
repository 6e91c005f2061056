"""Export: checkpoint -> graph -> parity -> gate -> bundle."""

import os

# ONNX Runtime reports to its maker unless this is set before its first import; nothing may leave this machine.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
