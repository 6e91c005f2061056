"""Recipes over the tiny backbone and synthetic voices."""

from pathlib import Path

from tests.factories.tiny_backbone import BANDS, FRAME, FRAMES
from tests.factories.voice_folders import RATE_HZ


def tiny_recipe(voices: Path, onnx_path: Path, folder: Path) -> dict[str, object]:
    """A recipe over studio/ and street/ of `voices`; what it writes goes to `folder`."""

    def dataset(domain: str, part: str) -> dict[str, object]:
        return {"corpus": domain, "domain": domain, "layout": "folder", "path": str(voices / domain / part)}

    return {
        "name": "tiny",
        "seed": 3,
        "dims": [4, 8, 24],
        "backbone": {
            "kind": "onnx",
            "path": str(onnx_path),
            "name": "tiny",
            "embedding_dim": BANDS,
            "input": {
                "sample_rate_hz": RATE_HZ,
                "window_samples": FRAME * FRAMES,
                "hop_samples": FRAME * FRAMES // 2,
                "context_samples": 0,
                "level_dbfs": -30.0,
            },
        },
        "data": {
            "train": [dataset("studio", "train"), dataset("street", "train")],
            "validation": [dataset("studio", "dev"), dataset("street", "dev")],
            "cache_dir": str(folder / "features"),
        },
        "projection": {"family": "linear"},
        "optimisation": {"epochs": 6, "identities_per_batch": 8, "clips_per_identity": 3, "checkpoint_every_epochs": 2},
        "output_dir": str(folder / "checkpoint"),
    }
