"""The table of scenarios."""

from dataclasses import replace
from typing import Final

from loadtests.scenarios.calls import (
    challenge,
    classify_radio,
    embed,
    enrol,
    generate,
    identify,
    transcribe,
    verify,
    verify_jointly,
)
from loadtests.scenarios.scenario import Bounds, Phase, Scenario

BOUNDS: Final = Bounds()
EVERYTHING: Final = (
    (enrol("voice"), 7),
    (enrol("face"), 3),
    (verify("voice"), 35),
    (verify("face"), 15),
    (identify("voice"), 18),
    (identify("face"), 7),
    (embed("voice"), 10),
    (embed("face"), 5),
)
SPIKE_LOAD: Final = 8.0
# a service that sheds load has to refuse, and to say when to come again; what it takes on it has to answer
OVERLOADED: Final = replace(BOUNDS, rejected=1.0)
RECOVERED: Final = replace(BOUNDS, p50_ratio=2.0)
UNCHANGED: Final = replace(BOUNDS, p50_ratio=1.5)

_ROWS: Final = (
    Scenario("steady", "10 % enroll, 50 % verify, 25 % identify, 15 % embed; voices 70 %, faces 30 %", EVERYTHING),
    Scenario(
        "spike",
        f"the steady mix; for a fifth of the time {SPIKE_LOAD:g} times as many callers",
        EVERYTHING,
        phases=(
            Phase("before", 0.4),
            Phase("spike", 0.2, SPIKE_LOAD, OVERLOADED),
            Phase("after", 0.4, bounds=RECOVERED),
        ),
    ),
    Scenario(
        "soak",
        "the steady mix for long (DURATION=2h); the last quarter is compared with the first",
        EVERYTHING,
        phases=(
            Phase("first", 0.25),
            Phase("second", 0.25),
            Phase("third", 0.25),
            Phase("last", 0.25, bounds=UNCHANGED),
        ),
    ),
    Scenario(
        "tenants",
        "verify, identify and enroll in four tenants at once, each with its key and its subjects",
        ((verify("voice"), 50), (verify("face"), 15), (identify("voice"), 25), (enrol("voice"), 10)),
        tenants=4,
    ),
    Scenario(
        "identify",
        "searches among some hundred voices more; enrol your own number with --gallery",
        ((identify("voice"), 80), (identify("face"), 10), (verify("voice"), 10)),
        gallery=200,
    ),
    Scenario("enrol", "a storm of enrolments", ((enrol("voice"), 70), (enrol("face"), 30))),
    Scenario("joint", "a voice and a face together", ((verify_jointly(), 80), (verify("voice"), 20))),
    Scenario("challenge", "a phrase is asked for and answered", ((challenge(), 80), (verify("voice"), 20))),
    Scenario("radio", "the modulation of signals", ((classify_radio(), 100),)),
    Scenario("phonemes", "the phones of clips", ((transcribe(), 100),)),
    Scenario("equalizer", "settings for a word", ((generate(), 100),)),
)
SCENARIOS: Final = {scenario.name: scenario for scenario in _ROWS}
