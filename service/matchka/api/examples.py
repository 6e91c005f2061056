"""Examples of requests and their answers, for the OpenAPI document."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

CLIP: Final = "data:audio/wav;base64,UklGRiQAAABXQVZFZm10IBAAAAABAAEA"  # the beginning of one
VERSION: Final = "1.4.0"
POSITION: Final = "0f0f0f0f-20-6-10"


@dataclass(frozen=True)
class Example:
    """A request as JSON, and the answer where it succeeds."""

    request: Mapping[str, Any]
    answer: Mapping[str, Any]


VERIFIED: Final = {
    "match": True,
    "similarity": 0.71,
    "threshold": 0.42,
    "threshold_measured": True,
    "max_fmr": 0.001,
    "probability": 0.98,
    "cosine": 0.71,
    "dim": 256,
    "model": "voice",
    "version": VERSION,
    "faces": None,
    "conditions": None,
    "phrase": None,
    "head_turn": None,
}
# by operationId
EXAMPLES: Final[Mapping[str, Example]] = MappingProxyType(
    {
        "embed": Example(
            {"model": "voice", "file": [CLIP], "dim": 16, "encoding": "base64"},
            {
                "model": "voice",
                "version": VERSION,
                "dim": 16,
                "encoding": "base64",
                "embeddings": [
                    "AACAPwAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=="
                ],
                "row_counts": [3],
                "faces": None,
            },
        ),
        "createEmbeddings": Example(
            {"model": "tone", "input": [{"frequency": 440, "gain": 1.5}], "dimensions": 2, "encoding_format": "float"},
            {
                "object": "list",
                "data": [{"object": "embedding", "index": 0, "embedding": [0.6, -0.8]}],
                "model": "tone",
                "version": VERSION,
                "usage": {"prompt_tokens": 1, "total_tokens": 1},
            },
        ),
        "enroll": Example(
            {"model": "voice", "subject_id": "ada", "file": [CLIP], "consent": "form 7", "purpose": "door"},
            {
                "subject_id": "ada",
                "model": "voice",
                "version": VERSION,
                "dim": 256,
                "template_ids": ["6f1f6a1e0c5b4b7e9a3d2c1b0a998877"],
                "template_count": 1,
                "similar_subjects": [],
                "faces": None,
                "skipped": [],
                "files": [{"file": 1, "template_id": "6f1f6a1e0c5b4b7e9a3d2c1b0a998877", "code": None}],
                "position": POSITION,
            },
        ),
        "verify": Example({"model": "voice", "subject_id": "ada", "file": CLIP, "max_fmr": 0.001}, VERIFIED),
        "compare": Example({"model": "voice", "file_a": CLIP, "file_b": CLIP}, VERIFIED),
        "identify": Example(
            {"model": "voice", "file": CLIP, "top_k": 1, "max_fpir": 0.01},
            {
                "match": "ada",
                "candidates": [
                    {
                        "subject_id": "ada",
                        "similarity": 0.71,
                        "cosine": 0.71,
                        "version": VERSION,
                        "dim": 256,
                        "threshold": 0.55,
                    }
                ],
                "threshold": 0.55,
                "threshold_measured": True,
                "max_fpir": 0.01,
                "dim": 256,
                "gallery_size": 1200,
                "model": "voice",
                "version": VERSION,
                "face": None,
                "faces": None,
                "condition": None,
                "position": POSITION,
            },
        ),
        "createChallenge": Example(
            {"subject_id": "ada", "kind": "phrase", "words": 4},
            {
                "challenge_id": "Zk3yq0Yv5l8",
                "kind": "phrase",
                "phrase": "copper window seven garden",
                "expires_at": "2026-01-01T12:01:00Z",
            },
        ),
        "createKey": Example(
            {"name": "front door", "scopes": "verify identify", "max_fmr": 0.001, "requests_per_s": 5},
            {
                "key_id": "k7f3a2",
                "name": "front door",
                "tenant": "default",
                "scopes": ["verify", "identify"],
                "max_fmr": 0.001,
                "max_fpir": 0.01,
                "requests_per_s": 5.0,
                "max_subjects": None,
                "max_templates": None,
                "created_at": "2026-01-01T12:00:00Z",
                "expires_at": None,
                "revoked_at": None,
                "replaced_by": None,
                "last_used_at": None,
                "key": "mk_k7f3a2_shown-once",
            },
        ),
    }
)
