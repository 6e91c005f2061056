"""What the running service says: embeddings of samples, thresholds, and whole identifications."""

import base64
import hashlib
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import requests
from rich.console import Console
from rich.progress import track
from scipy.interpolate import RegularGridInterpolator
from scipy.special import ndtri

from loadtests.identification.people import Person
from loadtests.scoring import Comparison, Counted, read_comparison

TIMEOUT_S = 120
CALLERS = 4
FILES_AT_ONCE = 8

Vectors = npt.NDArray[np.float32]


class Service:
    """A running service and one of its models.

    Args:
        url: its address.
        model: name of the model.
        models: folder of the served bundles, for how they compare.
    """

    def __init__(self, url: str, model: str, models: Path) -> None:
        self.url = url
        self.model = model
        served = self._json("GET", "/v1/models")["models"]
        self.about: dict[str, Any] = next(entry for entry in served if entry["name"] == model)
        self.comparison: Comparison = read_comparison(models, model, self.about["version"])

    def embed(self, samples: Sequence[bytes]) -> list[tuple[Vectors, int] | None]:
        """The full embedding of each sample, unit length, and its number of rows; None where it is refused."""
        try:
            answer = self._post("/v1/embed", {"encoding": "base64"}, samples)
        except requests.HTTPError:
            if len(samples) == 1:
                return [None]
            return [self.embed([sample])[0] for sample in samples]
        vectors = [np.frombuffer(base64.b64decode(text), "<f4") for text in answer["embeddings"]]
        return list(zip(vectors, answer["row_counts"], strict=True))

    def embed_people(self, people: Sequence[Person], cache_dir: Path) -> list[Counted]:
        """Embeddings of everybody, (samples, full_dim) each, in the order of the people; kept in a cache."""
        content = hashlib.sha256(f"{self.about['version']} with rows".encode())
        for person in people:
            for sample in person.samples:
                content.update(hashlib.sha256(sample).digest())
        path = cache_dir / f"{self.model}-{content.hexdigest()[:16]}.npz"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            found = self._embed_everybody(people)
            np.savez(path, *(part.vectors for part in found), *(part.rows for part in found))
        with np.load(path) as kept:
            arrays = [kept[f"arr_{number}"] for number in range(2 * len(people))]
        return [Counted(*part) for part in zip(arrays[: len(people)], arrays[len(people) :], strict=True)]

    def enroll(self, subject_id: str, samples: Sequence[bytes]) -> None:
        """Add templates to a subject, whatever enrolment thinks of them: rates are of everybody's samples."""
        self._post("/v1/enroll", {"subject_id": subject_id, "force": "true", **self._faces()}, samples)

    def enroll_templates(self, subject_id: str, samples: Sequence[bytes], count: int) -> None:
        """Add so many templates, of the first samples that enrolment takes.

        Raises: RuntimeError: too few of them can be enrolled.
        """
        held = 0
        for sample in samples:
            held += self.enroll_if_fit(subject_id, sample)
            if held == count:
                return
        raise RuntimeError(f"only {held} samples of {subject_id} can be enrolled, and {count} are needed")

    def enroll_if_fit(self, subject_id: str, sample: bytes) -> bool:
        """Add a template, unless there is too little speech in the sample, which only enrolment looks for."""
        try:
            self.enroll(subject_id, [sample])
        except requests.HTTPError as error:
            if error.response.json()["code"] != "no_speech":
                raise
            return False
        return True

    def identify(self, sample: bytes, dim: int, max_fpir: float) -> dict[str, Any]:
        """Search one sample."""
        return self._post("/v1/identify", {"dim": dim, "max_fpir": max_fpir, "top_k": 1}, [sample])

    def thresholds(
        self, subject_id: str, probe: bytes, templates: int, dim: int, max_fpir: float, gallery_size: int
    ) -> tuple[float, float]:
        """The threshold of identify in a gallery of any size, and what it would be by independent pairs alone.

        The second is asked of verify, whose max_fmr is what max_fpir leaves to each of so many comparisons; the first
        is the higher of it and the model's table for whole galleries, read off here by the rule of decision 062.

        Args:
            subject_id: somebody enrolled with so many templates.
            probe: any sample.
            templates: of every subject in the gallery.
            dim: components compared.
            max_fpir: rate asked for.
            gallery_size: subjects.
        """
        max_fmr = -math.expm1(math.log1p(-max_fpir) / gallery_size)
        fields = {"subject_id": subject_id, "dim": dim, "max_fmr": repr(max_fmr)}
        of_pairs = float(self._post("/v1/verify", fields, [probe])["threshold"])
        tables = self.about["per_dim"][str(dim)]["identification"]
        if not tables:
            return of_pairs, of_pairs
        counts = sorted(int(count) for count in tables)
        count = next((known for known in counts if known >= templates), counts[-1])
        return max(of_pairs, table_threshold(tables[str(count)], max_fpir, gallery_size)), of_pairs

    def delete_everybody(self) -> None:
        """Empty the gallery."""
        while page := self._json("GET", "/v1/subjects?limit=100")["subjects"]:
            for subject in page:
                requests.delete(f"{self.url}/v1/subjects/{subject['subject_id']}", timeout=TIMEOUT_S).raise_for_status()

    def _embed_everybody(self, people: Sequence[Person]) -> list[Counted]:
        def embed_one(person: Person) -> Counted:
            found: list[tuple[Vectors, int] | None] = []
            for start in range(0, len(person.samples), FILES_AT_ONCE):
                found += self.embed(person.samples[start : start + FILES_AT_ONCE])
            kept = [one for one in found if one is not None]
            vectors = [vector for vector, _ in kept] or np.empty((0, self.about["full_dim"]), np.float32)
            return Counted(np.asarray(vectors), np.asarray([rows for _, rows in kept], np.float64))

        console = Console(stderr=True)
        with ThreadPoolExecutor(CALLERS) as callers:
            embedded = callers.map(embed_one, people)
            return list(track(embedded, f"Embedding ({self.model})", total=len(people), console=console))

    def _faces(self) -> dict[str, str]:
        return {"face": "dominant"} if self.model == "face" else {}

    def _post(self, path: str, fields: dict[str, Any], samples: Sequence[bytes]) -> Any:
        parts = [("file", (f"sample-{number}", sample)) for number, sample in enumerate(samples)]
        form = {"model": self.model, **fields}
        answer = requests.post(self.url + path, data=form, files=parts, timeout=TIMEOUT_S)
        answer.raise_for_status()
        return answer.json()

    def _json(self, method: str, path: str) -> Any:
        answer = requests.request(method, self.url + path, timeout=TIMEOUT_S)
        answer.raise_for_status()
        return answer.json()


def table_threshold(table: dict[str, Any], max_fpir: float, gallery_size: int) -> float:
    """What a model's table says of a rate and a size between or beyond its own."""
    sizes, rates = np.log(table["gallery_sizes"]), -ndtri(table["max_fpirs"])
    z = RegularGridInterpolator(
        (rates, sizes), np.arctanh(table["thresholds"]), method="linear", bounds_error=False, fill_value=None
    )
    return float(np.tanh(z((-ndtri(max_fpir), math.log(gallery_size)))[()]))
