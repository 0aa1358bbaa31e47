#!/usr/bin/env python3
"""Every fault point of every program, with every fault: killed there, stopped for long, the call fails, the call succeeds but says
that it failed. Each time the story of torture_story.py must end as it does without a fault, with nothing owed.

  tests/e2e/torture.py                      a sample, the same for a RELEARN_TEST_SEED; part of `make test`
  tests/e2e/torture.py all                  all of them: `make torture`
  tests/e2e/torture.py again                what went wrong the last time, or was not met
  tests/e2e/torture.py on                   all that the last time did not come to: after SIGTERM, say, which ends it with what it has
  tests/e2e/torture.py train-1/train.order.write.before=kill@3 ...   these; @3: at the third pass, @start: on its way up

On the embedded bus, or on Kafka when RELEARN_TEST_BROKERS is set. The programs are those of VARIANT=fault, which it builds.
"""
# time-limit: 600
import math
import os
import random
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GIVEN = os.environ.get("TORTURE_BIN")  # a copy of them, so that they may be built anew meanwhile
os.environ["RELEARN_BIN"] = os.environ["RELEARN_LIBEXEC"] = GIVEN or str(ROOT / os.environ.get("BUILD", "build") / "fault/bin")

from relearn_e2e import KAFKA  # noqa: E402 (after RELEARN_BIN)
from torture_run import Torture, parse  # noqa: E402
from torture_table import Table  # noqa: E402

SEED = int(os.environ.get("RELEARN_TEST_SEED") or 1)
SAMPLE_S = 60  # of faults, in `make test`
JOBS = int(os.environ.get("TORTURE_JOBS") or 1)  # installations at once
TOGETHER = int(os.environ.get("TORTURE_TOGETHER") or 6)  # faults in one telling, when they are not named
RUNS_EACH = 60  # tellings of one installation: its logs grow, and every agent reads them again when it is started


def planned(torture, rng):
    """All faults in an order that spreads those of one process: a supervisor waits longer for one that dies again and again."""
    by_process = {}
    for fault in torture.faults(rng):
        by_process.setdefault(fault.process, []).append(fault)
    for faults in by_process.values():
        rng.shuffle(faults)
    order = []
    while by_process:
        for process in list(by_process):
            order.append(by_process[process].pop())
            if not by_process[process]:
                del by_process[process]
    return order


class Runner:
    """Threads that take faults from one list; each has an installation, and another one when that has suffered enough."""

    def __init__(self, plan, table, until, together_max=1):
        self.plan, self.table, self.until, self.together_max = list(plan), table, until, together_max
        self.lock = threading.Lock()
        self.errors, self.again, self.together = [], set(), []

    def next(self):
        """What is suffered in one telling: of different processes, a third of which may be stopped."""
        with self.lock:
            taken = []
            if self.plan and (self.plan[0] in self.again or self.plan[0].process == "broker"):  # that takes all others with it
                return [self.plan.pop(0)]
            for fault in self.plan if time.monotonic() < self.until else []:
                is_other = fault.process not in ("broker", *(f.process for f in taken))
                stopped = sum(f.kind == "stop" for f in taken) * (fault.kind == "stop")
                if fault not in self.again and is_other and stopped <= self.together_max // 4:
                    taken.append(fault)
                if len(taken) == self.together_max:
                    break
            for fault in taken:
                self.plan.remove(fault)
            return taken

    def work(self):
        try:
            faults = self.next()
            while faults:
                with Torture() as t:
                    for _ in range(RUNS_EACH):
                        self.judge(faults, *t.suffer(faults))
                        faults = self.next()
                        if t.is_broken or not faults:
                            break
        except Exception as e:
            self.errors.append(e)

    def judge(self, faults, found, wrong):
        """What went wrong with several is tried with each alone; what was not met is tried at the first pass."""
        with self.lock:
            alone = [f for f in faults if f not in self.again and (found[f] or (wrong and len(faults) > 1))]
            for fault in faults:
                if fault not in alone:
                    self.table.add(fault, found[fault] or wrong)
            if wrong and len(faults) > 1:
                self.together.append((faults, wrong))
            for fault in alone:
                fault = replace(fault, nth=1) if found[fault] and fault.nth else fault
                self.again.add(fault)
                self.plan.append(fault)

    def run(self):
        signal.signal(signal.SIGTERM, lambda *_: self.plan.clear())  # its installations end with it
        threads = [threading.Thread(target=self.work) for _ in range(JOBS)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        if self.errors:
            raise self.errors[0]


def main():
    if not GIVEN:
        subprocess.run(["make", "-s", "VARIANT=fault", "all"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL, env=os.environ | {"MAKELEVEL": "1"})
    print(f"RELEARN_TEST_SEED={SEED}", flush=True)
    words, rng, table = sys.argv[1:], random.Random(SEED), Table("Kafka" if KAFKA else "embedded")
    with Torture() as first:
        plan = planned(first, rng)
        table.expect(first.all_points(), plan)
    everything = words in (["all"], ["again"], ["on"])
    if words == ["again"]:
        plan = [parse(w) for w in table.take_up()]
    elif words == ["on"]:
        table.take_up()
        plan = [f for f in plan if not table.has(f)]
    elif words and not everything:
        plan = [parse(w) for w in words]
    until = math.inf if words else time.monotonic() + SAMPLE_S
    runner = Runner(plan, table, until, TOGETHER if words in ([], ["all"], ["on"]) else 1)
    runner.run()
    for faults, wrong in runner.together:
        print(f"went wrong together: {' '.join(map(str, faults))}: {wrong}", flush=True)
    table.write(is_summary=everything)
    print(table.last_line(), flush=True)
    return 1 if table.failed else 0


if __name__ == "__main__":
    sys.exit(main())
