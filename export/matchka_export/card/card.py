"""A model card in the layout of the Hugging Face Hub: Markdown behind a YAML header, all of it out of the manifest."""

import re
from collections.abc import Iterable
from typing import Any, Final

import yaml

from matchka.bundles.manifest import Manifest, Source
from matchka_export.card.kinds import told
from matchka_export.card.markdown import section, table

_HUB_NAME: Final = re.compile(r"[\w.-]+(/[\w.-]+)?")  # of a data set; what else a header names, the Hub refuses
_LIBRARY: Final = "matchka"
_NOT_MEASURED: Final = """\
- Samples unlike those of the data sets below: of another sensor, channel or place; of people, of another language, age
  or skin. The manifest keeps no figures by sex, age or origin: nothing is known of differences between such groups.
- Samples that are years apart.
- Imitations: a sample that was recorded before, forged or synthesised. The model looks for none.

Measure on samples of your own before you rely on a threshold, and tell people what is done with theirs."""
_FOR: Final = """\
Its task, {task}, on samples like those of the data sets below. Where samples are of people: with those who know what is
done with them and agreed, as what is computed of them is biometric data. A similarity is evidence, not proof: let a
second factor stand beside it, or a person decide.

It is not meant for finding strangers in crowds or in collected media, for guessing age, sex, origin, health or mood,
nor for decisions about people that nobody reviews."""
_USE: Final = """\
Put the folder under `models/{name}` and run `matchka serve`, which checks every file before it loads one. Calls take
`model={name}`, and `GET /v1/models` lists what the model states. The graph alone takes rows that are cut as `input` in
`manifest.json` says; of other rows it returns numbers that mean nothing."""


def model_card(manifest: Manifest) -> str:
    """The card of a bundle: no number in it is of anything but the manifest.

    Args: manifest: of a bundle that was read and verified.

    Returns: the text of a README.md.
    """
    outputs = [told(name, output) for name, output in manifest.outputs.items()]
    text = [
        f"# {manifest.name} {manifest.version}",
        f"An ONNX graph for the service matchka. Task: {manifest.task}. Samples: `{manifest.input.kind}`.",
        *_accepted_worse(manifest),
        section("What it returns", *(one.what for one in outputs)),
        section("What it is for", _FOR.format(task=manifest.task)),
        section("How to use it", _USE.format(name=manifest.name)),
        section("How well it does", *(one.measured for one in outputs if one.measured)),
        section("What was not measured", _NOT_MEASURED),
        section("What it was made from", _sources(manifest), "Data sets:", _datasets(manifest)),
        section("Files", table(("file", "sha256"), manifest.files.items()), _written_with(manifest)),
    ]
    header = yaml.safe_dump(_header(manifest, results=[row for one in outputs for row in one.results]))
    return f"---\n{header}---\n\n" + "\n\n".join(text) + "\n"


def _header(manifest: Manifest, results: list[dict[str, Any]]) -> dict[str, Any]:
    licences = sorted({source.licence for _, source in _parts(manifest)})
    kinds = sorted({output.kind for output in manifest.outputs.values()})
    header: dict[str, Any] = {
        "library_name": _LIBRARY,
        "tags": ["onnx", manifest.input.kind, *kinds],
        **_licence(licences),
        "datasets": sorted({data.name for data in manifest.datasets if _HUB_NAME.fullmatch(data.name)}),
    }
    if results:
        header["model-index"] = [{"name": manifest.name, "results": results}]
    return header


def _licence(licences: list[str]) -> dict[str, str]:
    """The Hub has names in lower case for licences of SPDX; several at once have none."""
    if len(licences) == 1:
        return {"license": licences[0].lower()}
    return {"license": "other", "license_name": ", ".join(licences)}


def _accepted_worse(manifest: Manifest) -> list[str]:
    if manifest.accepted_worse is None:
        return []
    return [f"**This graph failed the gate** and was shipped all the same, for this reason: {manifest.accepted_worse}"]


def _parts(manifest: Manifest) -> Iterable[tuple[str, Source]]:
    yield "backbone", manifest.backbone
    yield "projection", manifest.projection
    for part in manifest.auxiliary.values():
        yield from part.sources.items()


def _sources(manifest: Manifest) -> str:
    rows = [
        (part, source.name, source.source, source.version, source.licence, f"`{source.sha256}`")
        for part, source in _parts(manifest)
    ]
    return table(("part", "name", "from", "version", "licence", "sha256"), rows)


def _datasets(manifest: Manifest) -> str:
    rows = [(data.name, data.source, data.licence, data.use) for data in manifest.datasets]
    return table(("data set", "from", "licence", "used for"), rows)


def _written_with(manifest: Manifest) -> str:
    libraries = ", ".join(f"{name} {version}" for name, version in manifest.libraries.items())
    digest = f" Content digest: `{manifest.content_digest}`." if manifest.content_digest else ""
    return f"Written with {libraries}.{digest}"
