"""The plain handler's work, served by LitServe: the same decoding and the same graph, batched across requests or not.

    python -m loadtests.bench.serving.litserve_server --port 8011

LIT_BATCH names the most requests of one batch (1: no batching), LIT_WORKERS the inference processes, LIT_WAIT_MS the
longest wait for company; PLAIN_THREADS and PLAIN_GRAPH are the plain handler's. `make bench` installs LitServe beside
everything else.
"""

import argparse
import os
from typing import Any

import litserve
import numpy as np
from fastapi import Request

from loadtests.bench.serving.plain_handler import FloatArray, chip, models_of_environment, windows


class Embedding(litserve.LitAPI):
    """Form -> rows of the graph -> one unit-length embedding for each request."""

    def setup(self, device: str) -> None:
        """Load every bundle; once in each inference process."""
        del device
        self.models = models_of_environment()

    def decode_request(self, request: Request) -> tuple[str, Any]:
        """Read a form's file into the model's rows."""
        model = self.models[request["model"]]
        data = request["file"].file.read()
        read = windows if model.spec["kind"] == "audio" else chip
        return request["model"], read(data, model.spec)

    def predict(self, inputs: Any) -> Any:
        """Run the rows of one request."""
        return self.embed_together([inputs])[0]

    def encode_response(self, output: FloatArray) -> dict[str, Any]:
        """The answer."""
        return {"embeddings": [output.tolist()]}

    def embed_together(self, inputs: list[tuple[str, Any]]) -> list[FloatArray]:
        """Run the rows of several requests at once: an embedding of each."""
        session = self.models[inputs[0][0]].session  # the bench sends one model at a time
        rows = [found for _, found in inputs]
        (embeddings,) = session.run(None, {session.get_inputs()[0].name: np.concatenate(rows)})
        means = [part.mean(axis=0) for part in np.split(embeddings, np.cumsum([len(found) for found in rows])[:-1])]
        return [mean / np.linalg.norm(mean) for mean in means]


class BatchedEmbedding(Embedding):
    """The same, several requests in one run."""

    def batch(self, inputs: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
        """Requests of one batch; their rows are joined in predict()."""
        return inputs

    def predict(self, inputs: list[tuple[str, Any]]) -> list[FloatArray]:
        """Run the rows of a batch together."""
        return self.embed_together(inputs)

    def unbatch(self, output: list[FloatArray]) -> list[FloatArray]:
        """One answer for each request."""
        return output


def main() -> None:
    """Serve."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, required=True)
    batch = int(os.environ.get("LIT_BATCH", "1"))
    wait_s = float(os.environ.get("LIT_WAIT_MS", "2")) / 1000
    api = (
        Embedding(api_path="/v1/embed")
        if batch == 1
        else BatchedEmbedding(max_batch_size=batch, batch_timeout=wait_s, api_path="/v1/embed")
    )
    server = litserve.LitServer(
        api, accelerator="cpu", workers_per_device=int(os.environ.get("LIT_WORKERS", "1")), timeout=60, fast_queue=True
    )
    server.run(port=parser.parse_args().port, host="127.0.0.1", log_level="warning", generate_client_file=False)


if __name__ == "__main__":
    main()
