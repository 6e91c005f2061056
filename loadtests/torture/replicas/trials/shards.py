"""Two groups of replicas with a PostgreSQL each; the proxy chooses the group by the id in the key."""

import json
import time
from collections.abc import Mapping

from loadtests.client.caller import Caller
from loadtests.clusters import DURABLE, started_cluster
from loadtests.server import ServerProcess
from loadtests.torture.replicas import people
from loadtests.torture.replicas.group import Group, opened_group
from loadtests.torture.replicas.people import subject_of
from loadtests.torture.replicas.proxy import caller_through, opened_proxy
from loadtests.torture.replicas.trial import Plan, Result

TENANTS = {"north": "one", "south": "two"}
PEOPLE = 20
SCOPES = "enroll,verify,identify,subjects.read,subjects.delete"
NEW_KEY_BOUND_S = 60.0


def serve_tenants_in_groups(plan: Plan) -> Result:
    """Each tenant's calls go to its own group; its people are in that database alone, which no other's key opens."""
    folder = plan.out / "shards"
    with (
        opened_group(folder / "one", plan.cluster, plan.replicas, "one") as one,
        started_cluster(DURABLE) as second,
        opened_group(folder / "two", second, plan.replicas, "two") as two,
    ):
        groups = {"one": one, "two": two}
        keys = {tenant: _new_key(groups[name], tenant) for tenant, name in TENANTS.items()}
        shards = folder / "shards.map"
        lines = [f"{_id_of(keys[tenant])} {name}\n" for tenant, name in TENANTS.items() if name != "one"]
        shards.write_text("".join(lines), encoding="ascii")
        with opened_proxy(folder, [one, two], {"PROXY_SHARDS": str(shards)}) as proxy:
            broken = _call_as_everybody(plan, proxy, keys)
        broken += _stored_elsewhere(groups, keys) + one.disagreements() + two.disagreements()
    tried = len(TENANTS) * PEOPLE * 3
    return Result(tried, tried - len(broken), tuple(broken), f"{len(TENANTS)} tenants, a group and a PostgreSQL each")


def _call_as_everybody(plan: Plan, proxy: ServerProcess, keys: Mapping[str, str]) -> list[str]:
    """Both tenants have people of the same ids and other samples."""
    broken = []
    for tenant, key in keys.items():
        caller, seed = caller_through(proxy, key), _seed_of(plan, tenant)
        _wait_until_open(caller)
        for number in range(PEOPLE):
            answer = people.enrol(caller, number, people.sample(seed, number))
            if answer.status != 201:
                broken.append(f"{tenant}: enrol answered {answer}")
    for tenant, key in keys.items():
        caller, seed = caller_through(proxy, key), _seed_of(plan, tenant)
        for number in range(PEOPLE):
            answer = people.verify(caller, number, people.sample(seed, number))
            if answer.status != 200 or not answer.body["match"]:
                broken.append(f"{tenant}: verify of {subject_of(number)} answered {answer}")
            listed = caller.get(f"subjects/{subject_of(number)}")
            if listed.status != 200 or len(listed.body["templates"]) != 1:
                broken.append(f"{tenant}: {subject_of(number)} is {listed}")
    return broken


def _stored_elsewhere(groups: Mapping[str, Group], keys: Mapping[str, str]) -> list[str]:
    """Past the proxy: a tenant's key opens its own group only, and that one holds its people only."""
    broken = []
    for tenant, key in keys.items():
        for name, group in groups.items():
            caller = Caller(group.replicas[0].port, key)
            status = caller.get("subjects?limit=1").status
            if status != (200 if TENANTS[tenant] == name else 401):
                broken.append(f"group {name} answers the key of {tenant} with {status}")
    for name, group in groups.items():
        report = json.loads(group.replicas[0].command("gallery", "status", "--json").stdout)
        tenants = {one["tenant"] for one in report["holdings"]}
        if tenants != {tenant for tenant, home in TENANTS.items() if home == name}:
            broken.append(f"group {name} holds people of {sorted(tenants)}")
    return broken


def _new_key(group: Group, tenant: str) -> str:
    words = ("keys", "create", "torture", "--tenant", tenant, "--scopes", SCOPES, "--json")
    done = group.replicas[0].command(*words)
    if done.returncode:
        raise RuntimeError(f"keys create: {done.stderr.decode()}")
    key: str = json.loads(done.stdout)["key"]
    return key


def _wait_until_open(caller: Caller) -> None:
    """A new key is in force in every process within a second or so: the proxy asks one, then the other."""
    deadline = time.monotonic() + NEW_KEY_BOUND_S
    in_a_row = 0
    while in_a_row < 10 and time.monotonic() < deadline:
        in_a_row = in_a_row + 1 if caller.get("subjects?limit=1").status == 200 else 0


def _id_of(key: str) -> str:
    return key.split("_")[1]


def _seed_of(plan: Plan, tenant: str) -> int:
    return plan.seed + sorted(TENANTS).index(tenant)
