"""What is compared: one part more, or one way to mix, at a time."""

from collections.abc import Mapping
from typing import Any, Final

BOTH: Final = {"film": True, "denoiser": True}
ARMS: Final[Mapping[str, Mapping[str, Any]]] = {
    "CLDNN": {"network": {"film": False}},
    "FiLM (A1)": {"network": {"film": True}},
    "denoiser, two paths (A3)": {"network": {"film": False, "denoiser": True}},
    "FiLM and denoiser": {"network": BOTH},
    "and mixup of all losses (A4)": {"network": BOTH, "mixup": {"classifier_only": False}},
    "and mixup of the classifier": {"network": BOTH, "mixup": {}},
    "and rarer, from 6 dB on": {"network": BOTH, "mixup": {"probability": 0.3, "lowest_snr_db": 6}},
    "and feature preservation": {"network": BOTH, "mixup": {}, "loss": {"preserved": 0.1}},
    "A4 with expert features, SNR-balanced (A5)": {
        "network": BOTH | {"expert": True},
        "mixup": {"classifier_only": False},
        "snr_balanced": True,
    },
}
# what is claimed: text, arm, what it is held against, band, the least gain in points that is claimed
CLAIMS: Final = (
    ("FiLM helps in the middle", "FiLM (A1)", "CLDNN", "-4..6", 0.0),
    ("the denoiser helps at low SNR", "denoiser, two paths (A3)", "CLDNN", "-14..-6", 0.0),
    ("FiLM helps in the middle beside a denoiser", "FiLM and denoiser", "denoiser, two paths (A3)", "-4..6", 0.0),
    (
        "mixup of all losses costs accuracy at low SNR",
        "FiLM and denoiser",
        "and mixup of all losses (A4)",
        "-14..-6",
        0.0,
    ),
    (
        "mixing the classifier alone gains a point at low SNR",
        "and mixup of the classifier",
        "and mixup of all losses (A4)",
        "-14..-6",
        1.0,
    ),
    (
        "rarer mixup from 6 dB on gains more at low SNR",
        "and rarer, from 6 dB on",
        "and mixup of the classifier",
        "-14..-6",
        0.0,
    ),
    (
        "feature preservation gains at low SNR",
        "and feature preservation",
        "and mixup of the classifier",
        "-14..-6",
        0.0,
    ),
    (
        "expert features and SNR-balanced batches cost accuracy",
        "and mixup of all losses (A4)",
        "A4 with expert features, SNR-balanced (A5)",
        "all",
        0.0,
    ),
)
