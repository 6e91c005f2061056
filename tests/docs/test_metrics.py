"""The tables of metrics: every one that a service tells."""

import re
from pathlib import Path

import requests
from prometheus_client.parser import text_string_to_metric_families

from tests.docs.markdown import ROOT
from tests.factories.bundles import write_bundle
from tests.factories.small_server import serving, small_settings

SHORTENED = "…"  # `matchka_batch_rows`, `…_queued_rows`: the second has the first two words of the one before
NAME = re.compile(rf"`((?:matchka|{SHORTENED})_[a-z_]+)`")


def documented() -> set[str]:
    found = NAME.findall((ROOT / "docs" / "observability.md").read_text(encoding="utf-8"))
    whole = {name for name in found if not name.startswith(SHORTENED)}
    before = ""
    for name in found:
        if name.startswith(SHORTENED):
            kinds = ["_".join(before.split("_")[:words]) for words in (2, 3)]
            whole |= {kind + name.removeprefix(SHORTENED) for kind in kinds}
        else:
            before = name
    return whole


def test_metrics_that_a_service_tells_are_in_the_tables(tmp_path: Path):
    write_bundle(tmp_path / "models" / "voice")
    with serving(small_settings(tmp_path)) as server:
        exposition = requests.get(f"{server.url}/metrics", timeout=60).text
    told = set()
    for family in text_string_to_metric_families(exposition):
        if family.name.startswith("matchka_") and not family.name.endswith("_created"):
            told.add(f"{family.name}_total" if family.type == "counter" else family.name)
    assert len(told) > 20
    assert told - documented() == set()
