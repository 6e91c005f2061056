"""Small corpora of noise and of room responses, laid out as MUSAN and RIRS_NOISES are."""

from pathlib import Path

import numpy as np
import soundfile

RATE_HZ = 8_000


def tone(frequency_hz: float, seconds: float = 0.5, level: float = 0.2, rate_hz: int = RATE_HZ) -> np.ndarray:
    return (level * np.sin(2 * np.pi * frequency_hz * np.arange(int(seconds * rate_hz)) / rate_hz)).astype(np.float32)


def write(path: Path, samples: np.ndarray, rate_hz: int = RATE_HZ) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate_hz, subtype="FLOAT")
    return path


def write_musan(root: Path) -> Path:
    """One recording of noise, two of music, four of speech; each sub-folder states licences."""
    write(root / "noise/free-sound/noise-free-sound-0000.wav", tone(3_000))
    for number, frequency in enumerate((400, 500)):
        write(root / f"music/rfm/music-rfm-{number:04}.wav", tone(frequency))
    for number, frequency in enumerate((700, 900, 1_100, 1_300)):
        write(root / f"speech/us-gov/speech-us-gov-{number:04}.wav", tone(frequency, level=0.1 * (number + 1)))
    for name in ("noise/free-sound", "music/rfm", "speech/us-gov"):
        (root / name / "LICENSE").write_text("public domain\n")
        (root / name / "ANNOTATIONS").write_text("nothing\n")
    return root


def write_rirs_noises(root: Path) -> Path:
    """Two simulated rooms, one measured by two microphones, an isotropic and a point noise; lists name them."""
    lists: dict[str, list[str]] = {}
    for size in ("smallroom", "largeroom"):
        name = f"simulated_rirs/{size}/Room001/Room001-00001.wav"
        write(root / name, response(20, 300))
        write(root / f"simulated_rirs/{size}/Room001/not-listed.wav", response(20, 300))
        lists[f"simulated_rirs/{size}/rir_list"] = [f"--rir-id {size}-1 --room-id {size}-001 RIRS_NOISES/{name}"]
    real = "real_rirs_isotropic_noises"
    write(root / real / "room.wav", np.stack([response(35, 400), response(80, 400)], axis=1))
    write(root / real / "noise.wav", tone(200))
    lists[f"{real}/rir_list"] = [f"--rir-id 1 --room-id 1 RIRS_NOISES/{real}/room.wav", ""]
    lists[f"{real}/noise_list"] = [f"--noise-id 1 --noise-type isotropic RIRS_NOISES/{real}/noise.wav"]
    write(root / "pointsource_noises/noise-0000.wav", tone(3_200))
    lists["pointsource_noises/noise_list"] = [
        "--noise-id 2 --noise-type point-source RIRS_NOISES/pointsource_noises/noise-0000.wav"
    ]
    for name, lines in lists.items():
        (root / name).write_text("\n".join(lines) + "\n")
    return root


def response(direct: int, length: int) -> np.ndarray:
    """A direct path, with a weaker one before it and others after."""
    found = np.zeros(length, np.float32)
    found[direct], found[direct - 5], found[direct + 17], found[direct + 90] = 0.8, 0.05, -0.4, 0.2
    return found
