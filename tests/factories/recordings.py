"""Radio recordings: made signals, and the bytes of them in every format."""

import hashlib
import io
import json
import tarfile
from typing import Any

import numpy as np
import soundfile

WINDOW = 128
# the errors that readers of formats raise; all others of the modality come from the samples
OF_FORMATS = {
    "NotRecordingError",
    "RecordingHeaderError",
    "SampleLengthError",
    "Sha512MismatchError",
    "UnsafeArchiveError",
    "UnsupportedSampleTypeError",
}


def signal(seed: int = 1, samples: int = 4 * WINDOW, offset: complex = 0.0) -> np.ndarray:
    """complex64: four phases, 8 samples each, in some noise; `offset` is added. Below full scale."""
    generator = np.random.default_rng(seed)
    symbols = np.exp(0.5j * np.pi * generator.integers(0, 4, -(-samples // 8)) + 0.25j * np.pi)
    noise = 0.1 * (generator.standard_normal(samples) + 1j * generator.standard_normal(samples))
    return (0.3 * (np.repeat(symbols, 8)[:samples] + noise + offset)).astype(np.complex64)


def pairs_of(samples: np.ndarray) -> np.ndarray:
    """float64, (n, 2)."""
    return np.stack([samples.real, samples.imag], axis=1).astype(np.float64)


def npy(array: np.ndarray) -> bytes:
    """As numpy.save writes it."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def cf32(samples: np.ndarray, order: str = "<") -> bytes:
    return pairs_of(samples).astype(f"{order}f4").tobytes()


def ci16(samples: np.ndarray, order: str = "<") -> bytes:
    return np.rint(pairs_of(samples) * 32767).astype(f"{order}i2").tobytes()


def cu8(samples: np.ndarray) -> bytes:
    """As rtl_sdr writes them: of 256 steps from -1 to 1."""
    return np.clip(np.rint((pairs_of(samples) + 1) * 127.5), 0, 255).astype(np.uint8).tobytes()


def wav(samples: np.ndarray, subtype: str = "FLOAT") -> bytes:
    """Stereo; a real array gives as many channels as it has columns."""
    buffer = io.BytesIO()
    parts = pairs_of(samples) if np.iscomplexobj(samples) else samples
    soundfile.write(buffer, parts, 1_000_000, subtype, format="WAV")
    return buffer.getvalue()


def sigmf(samples: bytes, datatype: str = "cf32_le", name: str = "take", **changes: Any) -> bytes:
    """An archive; `changes` to the metadata's `global`, with None to leave an entry out."""
    described = {"core:datatype": datatype, "core:version": "1.2.0", "core:sha512": hashlib.sha512(samples).hexdigest()}
    described |= {f"core:{key}": value for key, value in changes.items()}
    meta = {"global": {k: v for k, v in described.items() if v is not None}, "captures": [], "annotations": []}
    return tar({f"{name}/{name}.sigmf-meta": json.dumps(meta).encode(), f"{name}/{name}.sigmf-data": samples})


def tar(files: dict[str, bytes]) -> bytes:
    """A tar of these files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()
