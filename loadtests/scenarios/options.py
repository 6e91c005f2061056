"""The options of a scenario, beside locust's own."""

import argparse
import os
from dataclasses import fields, replace

from loadtests.scenarios.scenario import Bounds, Scenario
from loadtests.scenarios.table import SCENARIOS

SCENARIO_HELP = "; ".join(f"{scenario.name}: {scenario.what}" for scenario in SCENARIOS.values())


def add_options(parser: argparse.ArgumentParser) -> None:
    """Those of locust's command line, which also has --host, --users, --run-time, --processes and --html.

    Args:
        parser: locust's, which also reads the variables of the environment named in capitals, as LOAD_KEYS.
    """
    options = parser.add_argument_group("Scenario")
    options.add_argument("--scenario", choices=tuple(SCENARIOS), default="steady", help=SCENARIO_HELP)
    options.add_argument("--samples", default=os.environ.get("LOAD_SAMPLES", "build/samples"), help="folder of samples")
    options.add_argument(
        "--keys", default=os.environ.get("LOAD_KEYS", ""), help="API keys, separated by commas: LOAD_KEYS; one a tenant"
    )
    options.add_argument("--gallery", type=int, help="subjects that the set-up enrols beside those it needs")
    for field in fields(Bounds):
        name = f"--max-{field.name.replace('_', '-')}"
        options.add_argument(name, type=float, help="bound of every phase, in place of the scenario's")


def chosen_scenario(options: argparse.Namespace) -> Scenario:
    """The row that was asked for, with what the command line says otherwise."""
    scenario = SCENARIOS[options.scenario]
    given = {field.name: getattr(options, f"max_{field.name}", None) for field in fields(Bounds)}
    changes = {name: bound for name, bound in given.items() if bound is not None}
    phases = tuple(replace(phase, bounds=replace(phase.bounds, **changes)) for phase in scenario.phases)
    gallery = scenario.gallery if options.gallery is None else options.gallery
    return replace(scenario, phases=phases, gallery=gallery)


def given_keys(options: argparse.Namespace) -> tuple[str, ...]:
    """The keys to call with; none where the service has none in force."""
    return tuple(filter(None, options.keys.split(",")))
