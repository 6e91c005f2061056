"""Every call of the HTTP interface, from the service's own OpenAPI document."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from matchka.app import create_app
from matchka.settings import read_settings
from matchka_docs.reference.table import table

Json = dict[str, Any]
FORM: Final = "multipart/form-data"
PROBLEM: Final = "application/problem+json"
JSON: Final = "application/json"
BOUNDS: Final = {
    "minimum": "≥ {}",
    "exclusiveMinimum": "> {}",
    "gt": "> {}",  # as pydantic writes them where a schema is made by hand
    "ge": "≥ {}",
    "maximum": "≤ {}",
    "exclusiveMaximum": "< {}",
    "lt": "< {}",
    "le": "≤ {}",
    "maxLength": "at most {} characters",
    "maxItems": "at most {}",
}


def http_pages() -> dict[str, str]:
    """A page for each tag of the document, one of its schemas, and the index, by their names."""
    document = create_app(read_settings({})).openapi()
    pages = {tag["name"]: _tag_page(tag, document) for tag in document["tags"]}
    pages["schemas"] = _schemas_page(document["components"]["schemas"])
    return {"index": _index(document, list(pages)), **pages}


def _calls(document: Json) -> Iterator[tuple[str, str, Json]]:
    for path, methods in document["paths"].items():
        for method, call in methods.items():
            yield method.upper(), path, call


def _index(document: Json, pages: list[str]) -> str:
    rows = [
        [f"[`{method} {path}`]({call['tags'][0]}.md#{anchor(method, path)})", call["summary"]]
        for method, path, call in _calls(document)
    ]
    return "\n\n".join(
        [
            "# HTTP interface",
            "Made from the service's own OpenAPI document, which a running service gives at `/openapi.json` and shows "
            "at `/docs`. Where a key is in force, callers send `Authorization: Bearer KEY`; "
            "[which scope each call needs](../../keys.md). Every POST takes a form or JSON of the same names.",
            table(["call", ""], rows),
            "```{toctree}\n:hidden:\n\n" + "\n".join(pages) + "\n```\n",
        ]
    )


def anchor(method: str, path: str) -> str:
    """Where a call is described on its page.

    >>> anchor("GET", "/v1/subjects/{subject_id}")
    'get-v1-subjects-subject_id'
    """
    return f"{method} {path}".lower().replace(" /", "-").replace("/", "-").replace("{", "").replace("}", "")


def _tag_page(tag: Json, document: Json) -> str:
    described = [_call(method, path, call) for method, path, call in _calls(document) if call["tags"] == [tag["name"]]]
    return "\n\n".join([f"# {tag['name'].capitalize()}", tag["description"], *described]) + "\n"


def _call(method: str, path: str, call: Json) -> str:
    parts = [f"({anchor(method, path)})=\n## `{method} {path}`", f"**{call['summary']}** {call.get('description', '')}"]
    if call.get("parameters"):
        rows = [
            [f"`{known['name']}`", known["in"], _type(known["schema"]), _default(known, known["schema"]), _said(known)]
            for known in call["parameters"]
        ]
        parts.append("**Parameters**\n\n" + table(["name", "in", "type", "default", ""], rows))
    if "requestBody" in call:
        parts += _body(call["requestBody"]["content"])
    for status, answer in call["responses"].items():
        if int(status) < 400:
            parts += _answer(status, answer)
    refusals = [
        [status, ", ".join(f"[`{code}`](../errors.md#{code})" for code in codes)]
        for status, answer in call["responses"].items()
        if (codes := _codes(answer))
    ]
    parts.append("**Errors**\n\n" + table(["status", "codes"], refusals))
    return "\n\n".join(parts)


def _codes(answer: Json) -> list[str]:
    schema = answer.get("content", {}).get(PROBLEM, {}).get("schema", {})
    codes: list[str] = schema.get("properties", {}).get("code", {}).get("enum", [])
    return codes


def _body(content: Json) -> list[str]:
    form = content[FORM]["schema"]
    required = set(form.get("required", ()))
    rows = [
        [f"`{name}`", _type(known), "**required**" if name in required else _default({}, known), _said(known)]
        for name, known in form["properties"].items()
    ]
    said = re.sub(r"^[A-Z]+ /\S+[.:]\s*", "", _paragraphs(form))  # the call: the heading says it
    parts = [*([said] if said else []), "**Fields**\n\n" + table(["name", "type", "default", ""], rows)]
    example = content.get(JSON, {}).get("example")
    return [*parts, _example("The same as JSON, for example:", example)] if example else parts


def _answer(status: str, answer: Json) -> list[str]:
    content = answer.get("content", {})
    kinds = [f"`{media_type}` {_type(known.get('schema', {}))}" for media_type, known in content.items()]
    parts = [f"**Answer** {status}: {', '.join(kinds) or answer['description']}"]
    if answer.get("headers"):
        parts.append("Headers: " + ", ".join(f"`{name}`" for name in answer["headers"]))
    example = content.get(JSON, {}).get("example")
    return [*parts, _example("For example:", example)] if example else parts


def _example(words: str, example: Any) -> str:
    return f"{words}\n\n```json\n{json.dumps(example, indent=2, ensure_ascii=False)}\n```"


def _schemas_page(schemas: Mapping[str, Json]) -> str:
    parts = [
        "---\ntocdepth: 2\n---\n\n# Answers",
        "What the calls answer with, by name. More fields may come in later versions.",
    ]
    for name in sorted(schemas):
        schema = schemas[name]
        required = set(schema.get("required", ()))
        rows = [
            [f"`{key}`", _type(known), "" if key in required else _default({}, known), _said(known)]
            for key, known in schema.get("properties", {}).items()
        ]
        parts += [f"({name.lower()})=\n## {name}", _paragraphs(schema)]
        if rows:
            parts.append(table(["field", "type", "default", ""], rows))
    return "\n\n".join(part for part in parts if part) + "\n"


def _paragraphs(schema: Json) -> str:
    return str(schema.get("description", ""))


def _said(known: Json) -> str:
    limits = [words.format(known[bound]) for bound, words in BOUNDS.items() if bound in known]
    return " ".join([known.get("description", ""), f"({', '.join(limits)})" if limits else ""]).strip()


def _default(known: Json, schema: Json) -> str:
    if known.get("required"):
        return "**required**"
    value = schema.get("default")
    return "" if value is None else f"`{json.dumps(value)}`"


def _type(schema: Json) -> str:
    """A schema in words, with links to those that have a name."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[-1]
        return f"[{name}](schemas.md#{name.lower()})"
    for several in ("anyOf", "oneOf", "allOf"):
        if several in schema:
            kinds = dict.fromkeys(_type(part) for part in schema[several] if part.get("type") != "null")
            return " or ".join(kinds)
    if "enum" in schema or "const" in schema:
        return ", ".join(f"`{value}`" for value in schema.get("enum", [schema.get("const")]))
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    if schema.get("format") == "binary":
        return "file"
    return str(schema.get("type", "any"))
