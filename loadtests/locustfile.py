"""Load by scenario against a running service, with locust: what `python -m loadtests.scenarios` starts.

    locust --locustfile loadtests/locustfile.py --headless --host http://127.0.0.1:8000 --scenario spike --users 16

Exit status 1: a bound of the scenario was not kept; 2: no such scenario; 3: the host does not answer, or lacks what is
needed.
"""

import functools
import itertools
import random
import sys
import uuid
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import gevent
from locust import FastHttpUser, LoadTestShape, argument_parser, constant, events, task
from locust.env import Environment
from locust.runners import MasterRunner, Runner, WorkerRunner

from loadtests.bench.table import machine
from loadtests.scenarios.calls import Converse, Request
from loadtests.scenarios.material import Material, read_material
from loadtests.scenarios.options import add_options, chosen_scenario, given_keys
from loadtests.scenarios.preparation import HostFailedError, Service, authorization, enrol_everybody, look_at
from loadtests.scenarios.report import Run, add_to_html, as_lines, write_json
from loadtests.scenarios.scenario import Phase
from loadtests.scenarios.verdict import PERCENTILES, Counted, Row, judge

DURATION_S = 60
NOT_KEPT, HOST_FAILED = 1, 3  # exit statuses; argparse has 2
REJECTED = (429, 503)
# Messages to those who send, when another phase begins and at the end; and theirs then, how many requests they counted.
# Without it workers are left half a second for answers that are under way, and their statistics.
PHASE, FINISH, SENT = "phase", "finish", "sent"
REPORT_S = 60.0  # longest wait for the last statistics of workers, who report every three seconds
NO_KEY = (None,)

# locust 2.47 builds its parser anew for each option of each message that starts callers: seconds in which a worker does
# nothing else, and is taken for lost
argument_parser.default_args_dict = functools.cache(argument_parser.default_args_dict)


class Caller(FastHttpUser):
    """Someone who calls without a pause, also after a rejection."""

    wait_time = constant(0)
    connection_timeout = 30.0
    network_timeout = 60.0
    phase = ""  # of the run, for all callers of this process
    keys: itertools.cycle = itertools.cycle(NO_KEY)
    mix: Sequence[Converse] = ()  # each as often as its weight
    sent = 0  # requests of this process that are in its statistics

    def on_start(self) -> None:
        """Belong to one tenant."""
        self.authorization = authorization(next(self.keys))

    @task
    def converse(self) -> None:
        """One conversation of the mix: each answer leads to the next request."""
        conversation, answer = random.choice(self.mix)(), None
        try:
            while True:
                answer = self._send(conversation.send(answer))
        except StopIteration:
            pass

    def _send(self, request: Request) -> bytes | None:
        row = Row(self.phase, request.name)
        headers = {**request.payload.headers, **self.authorization}
        content = None
        with self.client.post(
            request.path, data=request.payload.body, headers=headers, name=row.name, catch_response=True
        ) as answer:
            if answer.status_code == request.expected:
                answer.success()
                content = answer.content
            elif answer.status_code in REJECTED and "Retry-After" in answer.headers:
                answer.request_meta["name"] = replace(row, is_rejected=True).name
                answer.success()
            else:
                answer.failure(f"{answer.status_code}: {(answer.text or '')[:200]}")
        Caller.sent += 1
        return content


class Phases(LoadTestShape):
    """As many callers as the scenario's phase has; those who send are told its name."""

    use_common_options = True
    runner: Runner
    phase: Phase | None = None
    told: list[int]  # requests of each process that has finished

    def tick(self) -> tuple[int, float] | None:
        """Callers, and as many of them begin a second; None at the end, when all statistics are there."""
        options = self.runner.environment.parsed_options
        scenario, elapsed_s = chosen_scenario(options), self.get_run_time()
        phase = self.phase = scenario.next_phase(self.phase, elapsed_s, _duration_s(options))
        if phase is None:
            self._finish()
            return None
        callers = max(1, round(phase.load * (options.num_users or 1)))
        self.runner.send_message(PHASE, phase.name)
        return callers, callers

    def _finish(self) -> None:
        """Wait for the answers under way and for the statistics of them."""
        senders = self.runner.worker_count if isinstance(self.runner, MasterRunner) else 1
        self.told = []
        self.runner.send_message(FINISH)
        with gevent.Timeout(REPORT_S, False):
            while len(self.told) < senders or self.runner.stats.num_requests < sum(self.told):
                gevent.sleep(0.1)


@events.init_command_line_parser.add_listener
def _(parser: ArgumentParser) -> None:
    add_options(parser)


@events.init.add_listener
def begin(environment: Environment, runner: Runner, **_: object) -> None:
    """Enrol everybody, uncounted, where the run is led; get ready to send elsewhere."""
    options = environment.parsed_options
    scenario = chosen_scenario(options)
    host, keys, leads = environment.host or "", given_keys(options), not isinstance(runner, WorkerRunner)
    try:
        service = look_at(host, keys, scenario) if leads else None
        material = read_material(Path(options.samples), run=uuid.uuid4().hex[:8])
        if service:
            enrol_everybody(host, keys, scenario, material)
            environment.events.quitting.add_listener(_judging(service, datetime.now(UTC)))
            runner.register_message(SENT, _note)
    except HostFailedError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(HOST_FAILED)
    if not isinstance(runner, MasterRunner):
        runner.register_message(PHASE, _enter)
        runner.register_message(FINISH, _stop, concurrent=True)
        environment.events.test_start.add_listener(_sending(material))


def _enter(msg: Any, **_: object) -> None:
    Caller.phase = msg.data


def _stop(environment: Environment, **_: object) -> None:
    environment.runner.stop()
    environment.runner.send_message(SENT, Caller.sent)


def _note(environment: Environment, msg: Any, **_: object) -> None:
    environment.shape_class.told.append(msg.data)


def _sending(material: Material) -> Callable[..., None]:
    """Options of the one who leads the run have arrived when it starts."""

    def start(environment: Environment, **_: object) -> None:
        options = environment.parsed_options
        Caller.sent = 0
        Caller.keys = itertools.cycle(given_keys(options) or NO_KEY)
        mix = [[kind.prepare(material)] * weight for kind, weight in chosen_scenario(options).mix]
        Caller.mix = list(itertools.chain.from_iterable(mix))

    return start


def _judging(service: Service, began: datetime) -> Callable[..., None]:
    def finish(environment: Environment, **_: object) -> None:
        options, runner = environment.parsed_options, environment.runner
        scenario = chosen_scenario(options)
        run = Run(
            scenario=scenario,
            service=service,
            host=environment.host or "",
            users=options.num_users or 1,
            duration_s=_duration_s(options),
            began=f"{began:%Y-%m-%d %H:%M} UTC",
            workers=options.expect_workers if isinstance(runner, MasterRunner) else 0,
            machine=machine(),
            findings=judge(scenario, _counted(runner)),
        )
        sys.stdout.write("\n".join(as_lines(run)) + "\n")
        is_whole = run.is_passed and not runner.exceptions
        environment.process_exit_code = 0 if is_whole else options.exit_code_on_error or NOT_KEPT
        if options.html_file and Path(options.html_file).is_file():
            add_to_html(run, Path(options.html_file))
            write_json(run, Path(options.html_file).with_suffix(".json"))

    return finish


def _counted(runner: Runner) -> dict[Row, Counted]:
    return {
        Row.named(entry.name): Counted(
            entry.num_requests,
            entry.num_failures,
            {name: entry.get_response_time_percentile(share) for name, share in PERCENTILES.items()},
        )
        for entry in runner.stats.entries.values()
    }


def _duration_s(options: Namespace) -> float:
    return options.run_time or DURATION_S
