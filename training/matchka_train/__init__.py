"""Training: dataset -> frozen-feature cache -> projection training -> task-matched validation -> checkpoint."""

import os

# ONNX Runtime reports to its maker unless this is set before its first import; nothing may leave this machine.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
