"""Alert rules and dashboard: valid, tested, and asking for what a service really has."""

import json
import math
import re
import shutil
import subprocess
import threading
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from loadtests.server import free_port
from matchka.errors import MatchkaError
from tests.factories.bundles import write_bundle
from tests.factories.checkout import ROOT
from tests.factories.samples import sample
from tests.factories.small_server import SmallServer, serving, small_settings

DEPLOY = ROOT / "deploy"
RULES = DEPLOY / "prometheus" / "rules.yml"
TESTS = [Path(__file__).parent / name for name in ("alerts_test.yml", "drift_test.yml")]
KEY = "0123456789abcdef"
LONGEST_S = 180.0


@pytest.fixture
def promtool() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs Prometheus' own checks."""
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("promtool is not installed here (Debian's package prometheus)")
    return lambda *arguments: subprocess.run([found, *arguments], capture_output=True, text=True, check=False)


def rules(kind: str) -> dict[str, str]:
    """Expressions of the rules by their names; kind is `record` or `alert`."""
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return {rule[kind]: rule["expr"] for group in groups for rule in group["rules"] if kind in rule}


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((DEPLOY / "grafana" / "matchka.json").read_text(encoding="utf-8"))
    return found


def test_rules_and_configuration_pass_prometheus_own_checks(
    promtool: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
):
    shutil.copytree(DEPLOY / "prometheus", tmp_path, dirs_exist_ok=True)
    (tmp_path / "matchka.key").write_text(KEY, encoding="utf-8")
    done = promtool("check", "config", "--lint-fatal", str(tmp_path / "prometheus.yml"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(rules('record')) + len(rules('alert'))} rules found" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("file", TESTS, ids=lambda file: file.stem)
def test_alerts_fire_when_they_should(file: Path, promtool: Callable[..., subprocess.CompletedProcess[str]]):
    done = promtool("test", "rules", str(file))
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_tested_to_fire_and_not_to_fire():
    tests = [test for file in TESTS for test in yaml.safe_load(file.read_text(encoding="utf-8"))["tests"]]
    cases = [case for test in tests for case in test["alert_rule_test"]]
    fires = {case["alertname"] for case in cases if case.get("exp_alerts")}
    rests = {case["alertname"] for case in cases if not case.get("exp_alerts")}
    assert fires == set(rules("alert"))
    assert set(rules("alert")) - rests == {"MatchkaSlow"}  # that one is silent for another path


def test_panels_of_the_dashboard_lie_beside_each_other_and_ask_the_chosen_prometheus():
    taken: set[tuple[int, int]] = set()
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len({panel["title"] for panel in panels}) == len(panels)
    for panel in panels:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken
        assert max(x for x, _ in cells) < 24
        taken |= cells
        assert panel["datasource"]["uid"] == "${datasource}"
        assert all('job="$job"' in target["expr"] for target in panel["targets"])


def test_dashboard_counts_services_of_other_versions_than_the_project_s():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    (panel,) = [panel for panel in dashboard()["panels"] if panel["title"] == "Services of another version"]
    assert f'version!="{version}"' in panel["targets"][0]["expr"]
    assert f"not of {version}," in panel["description"]


def queries() -> dict[str, str]:
    """Every query, by its place; of alerts what they compare, whether it passes the bound or not."""
    alerts = {f"alert {name}": re.sub(r" (==|>|<) ", r" \1 bool ", expr) for name, expr in rules("alert").items()}
    records = {f"record {name}": expr for name, expr in rules("record").items()}
    variables = {"$job": "matchka", "$__rate_interval": "30s"}
    panels = {}
    for panel in dashboard()["panels"]:
        for target in panel["targets"]:
            asked = target["expr"]
            for name, value in variables.items():
                asked = asked.replace(name, value)
            panels[f"panel {panel['title']} {target['refId']}"] = asked
    return alerts | records | panels


@contextmanager
def prometheus(folder: Path, server: SmallServer) -> Iterator[str]:
    """Debian's prometheus, with the configuration that is shipped but for its addresses and intervals."""
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("prometheus is not installed here (Debian's package prometheus)")
    shutil.copytree(DEPLOY / "prometheus", folder)
    (folder / "matchka.key").write_text(KEY, encoding="utf-8")
    file, port = folder / "prometheus.yml", free_port()
    configuration = yaml.safe_load(file.read_text(encoding="utf-8"))
    configuration["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    configuration["scrape_configs"][0]["static_configs"] = [{"targets": [server.url.removeprefix("http://")]}]
    file.write_text(yaml.safe_dump(configuration), encoding="utf-8")
    listen = ["--web.listen-address", f"127.0.0.1:{port}", "--log.level", "error"]
    store = ["--config.file", str(file), "--storage.tsdb.path", str(folder / "data")]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([program, *listen, *store], stdout=log, stderr=log)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(60)


@contextmanager
def load(server: SmallServer) -> Iterator[None]:
    """Calls of every kind, good ones and bad ones, until the end of the block."""
    client, ended = server.client(KEY), threading.Event()
    client.enroll("ada", [sample(1), sample(1, 1)])
    client.enroll("eve", [sample(2)])

    def call() -> None:
        take = 2
        while not ended.is_set():
            take += 1
            client.verify("ada", sample(1, take))
            client.verify("ada", sample(3, take))
            client.identify(sample(1, take))
            with suppress(MatchkaError):
                client.embed([b"no audio"])
            requests.get(f"{server.url}/v1/models", headers={"Authorization": "Bearer wrong-wrong-wrong"}, timeout=60)
            ended.wait(0.05)

    thread = threading.Thread(target=call)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def answered(url: str, query: str) -> bool:
    """Whether a query has a number for an answer."""
    answer = requests.get(f"{url}/api/v1/query", params={"query": query}, timeout=60).json()
    assert answer["status"] == "success", (query, answer)
    return any(not math.isnan(float(one["value"][1])) for one in answer["data"]["result"])


@pytest.mark.slow
def test_every_query_of_rules_and_dashboard_returns_data_of_a_loaded_service(tmp_path: Path):
    write_bundle(tmp_path / "models" / "voice")
    with (
        serving(small_settings(tmp_path, api_key=KEY, failed_tries_per_hour=1_000_000)) as server,
        prometheus(tmp_path / "prometheus", server) as url,
        load(server),
    ):
        waiting, end = queries(), time.monotonic() + LONGEST_S
        assert len(waiting) > 60
        while waiting and time.monotonic() < end:
            with suppress(requests.ConnectionError):  # it has not started yet
                waiting = {place: query for place, query in waiting.items() if not answered(url, query)}
            time.sleep(1)
        assert waiting == {}
        found = requests.get(f"{url}/api/v1/rules", timeout=60).json()["data"]["groups"]
        health = {rule["name"]: (rule["health"], rule.get("lastError")) for group in found for rule in group["rules"]}
        assert len(health) == len(rules("record")) + len(rules("alert"))
        assert set(health.values()) == {("ok", None)}
