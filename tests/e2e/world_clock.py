#!/usr/bin/env python3
"""The clock of the machine is set forward and back by a day while everything runs. What is due is done, nothing is done twice, and the
line does not stand still until the clock has come to where it once was. On the embedded bus, and on Kafka when RELEARN_TEST_BROKERS
is set. The clock is libfaketime's: of all processes at once, and not the monotonic one, as when an operator sets it.
"""
# time-limit: 200
import glob
import os
import sys

from proof import Clients, Programs, verified
from relearn_e2e import AGENTS, CLEAR, CLEAR_LABELS, Installation, pipeline, rows_of, run, write_csv

LIBRARY = "/usr/lib/*/faketime/libfaketimeMT.so.1"
DAY_S = 86400
it = clock = None


class Clock:
    """The time of every agent: a file that libfaketime looks at each time."""

    def __init__(self):
        found = glob.glob(LIBRARY)
        assert found, f"no {LIBRARY}: run scripts/bootstrap"
        self.programs = Programs()
        self.file = self.programs.folder / "time"
        self.set(0)
        fake = [
            f"export LD_PRELOAD={found[0]} FAKETIME_TIMESTAMP_FILE={self.file} FAKETIME_NO_CACHE=1",
            "export FAKETIME_DONT_FAKE_MONOTONIC=1 NO_FAKE_STAT=1",
        ]
        for agent in [*AGENTS, "broker"]:
            self.programs.wrap(f"relearn-{agent}", fake)

    def set(self, seconds):
        new = self.file.with_suffix(".new")
        new.write_text(f"{seconds:+d}\n")
        os.replace(new, self.file)


def data(seed, rows=300):
    return write_csv(it.data / f"{seed}.csv", rows_of(rows, seed))


def begin(line, **parts):
    it.apply(pipeline(line, **parts))
    assert it.learn(line, line, data(1))["outcome"] == "promoted"


def deferred(line, trigger):
    return it.event("plans", line, kind="deferred", cause=trigger)["record"]


def what_waits_for_a_time_is_done_when_the_clock_is_set_forward():
    """A cool-down of an hour is over when a day has gone by."""
    begin("cooled", plan={"quiet": "0s", "cooldown": {"after_promotion": "1h"}})
    event = it.publish("cooled", data(2, 400))
    snapshot = it.snapshot("cooled", event)["id"]
    deferred("cooled", snapshot)
    clock.set(DAY_S)
    it.apply(pipeline("nudge"))  # agents look at the clock once a minute at least, and when something comes
    assert it.end_of("cooled", snapshot)["outcome"] == "promoted"
    verified(it, "--skew", "2d")
    clock.set(0)


def the_loop_goes_on_when_the_clock_is_set_forward_and_back():
    """A promotion before, at, and after the day that never was. What was promoted tomorrow cools nobody down until then."""
    begin("leaps", plan={"quiet": "0s", "cooldown": {"after_promotion": "1s", "after_rejection": "1s"}, "budget": {"runs_per_day": 20}})
    with Clients(it, "leaps", ["serve-1"], threads=1) as clients:
        for n, seconds in enumerate([DAY_S, 0, -DAY_S, 0, DAY_S, 0], 2):
            clock.set(seconds)
            assert it.learn("leaps", "leaps", data(n, 300 + 50 * n))["outcome"] in ("promoted", "rejected"), n
            assert it.labels_of("leaps", CLEAR) == CLEAR_LABELS
    clients.assert_none_failed()
    clients.assert_all_recorded(it)
    generations = [r["generation"] for r in it.deployments("leaps")]
    assert generations == list(range(1, len(generations) + 1)) and len(generations) > 4, generations
    for agent in AGENTS:
        it.restart(f"{agent}-1")
    assert it.learn("leaps", "leaps", data(20, 900))["outcome"] in ("promoted", "rejected")
    verified(it, "--skew", "2d")


def a_run_of_a_day_that_never_was_does_not_use_the_budget():
    begin("spent", plan={"quiet": "0s", "budget": {"runs_per_day": 3}})
    clock.set(DAY_S + 3600)
    for n in (2, 3, 4):
        assert it.learn("spent", "spent", data(n, 300 + 50 * n))["outcome"] == "promoted"
    clock.set(0)
    assert it.learn("spent", "spent", data(5, 700))["outcome"] == "promoted"
    verified(it, "--skew", "2d")


def a_canary_goes_on_when_the_clock_is_set_back():
    """Its step ends an interval from now, not tomorrow."""
    it.apply(pipeline("bird", deploy={"strategy": "canary", "steps": [50, 100], "interval": "2s", "min_predictions": 1}))
    assert it.learn("bird", "bird", data(1))["outcome"] == "promoted"
    clock.set(DAY_S)
    with Clients(it, "bird", ["serve-1"], threads=1) as clients:
        event = it.publish("bird", data(2, 500))
        run_id = it.plan("bird", it.snapshot("bird", event)["id"])["id"]
        it.event("deployments", "bird", run=run_id, action="canary_begin")
        clock.set(0)
        it.event("deployments", "bird", run=run_id, is_final=True)
    clients.assert_none_failed()
    verified(it, "--skew", "2d")


CASES = [
    the_loop_goes_on_when_the_clock_is_set_forward_and_back,
    a_run_of_a_day_that_never_was_does_not_use_the_budget,
    a_canary_goes_on_when_the_clock_is_set_back,
    what_waits_for_a_time_is_done_when_the_clock_is_set_forward,
]


def main():
    global it, clock
    clock = Clock()
    it = Installation("clock")
    it.programs = clock.programs.folder
    try:
        with it:
            return run(CASES, it)
    finally:
        clock.programs.close()


if __name__ == "__main__":
    sys.exit(main())
