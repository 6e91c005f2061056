"""The Python client, and the contracts inside, from docstrings: reStructuredText for autodoc."""

from typing import Final

CLIENT: Final = """\
Python client
=============

``pip install .`` brings it without the server. :class:`~matchka.client.AsyncClient` has the same methods as coroutines.
Every answer is a frozen pydantic model; what the service refuses is raised.

.. autoclass:: matchka.client.Client
   :members:

.. autoclass:: matchka.client.AsyncClient
   :no-index:

Answers
-------

.. automodule:: matchka.client.answers
   :members:
   :imported-members:
   :undoc-members:
   :exclude-members: model_config

Errors
------

.. autoexception:: matchka.errors.MatchkaError

.. autoexception:: matchka.errors.RequestFailedError

.. autoexception:: matchka.errors.ServiceUnreachableError
"""

CONTRACTS: Final = {
    "matchka.modalities.modality": "A modality: bytes of a sample become rows",
    "matchka_train.modalities.modality": "Its side in training",
    "matchka_train.backbones.backbone": "A backbone",
    "matchka.bundles.outputs.output": "An output: what a graph answers, and what is measured of it",
    "matchka.gallery.gallery": "A gallery: references that are searched",
    "matchka.gallery.galleries": "Galleries by tenant, model and version",
    "matchka.store.database": "A database",
    "matchka.tasks.challenges.kind": "A kind of challenge",
}


def python_page() -> str:
    """The page of the client."""
    return CLIENT


def contracts_page() -> str:
    """The page of what somebody who adds something has to keep."""
    title = "Contracts inside"
    said = (
        "A new modality is a folder in ``matchka/modalities`` that keeps the first of these, a reader and a folder of\n"
        "backbones in ``matchka_train``, a recipe, and a row in the table of each. Nothing else asks which modalities\n"
        "there are."
    )
    parts = [f"{title}\n{'=' * len(title)}\n\n{said}"]
    for module, heading in CONTRACTS.items():
        parts.append(f"{heading}\n{'-' * len(heading)}\n\n.. automodule:: {module}\n   :members:")
    return "\n\n".join(parts) + "\n"
