#!/usr/bin/env python3
"""Several instances of each agent: the story of torture_story.py ends as it does with one of each; so it does with two on the same
share by mistake, and while instances come and go. A training goes on where it is when its partition moves, and is taken over only
when its beats stop. Everything is restarted, one after the other, and no request fails that tries a second instance of serve.
By share on both buses; on Kafka (RELEARN_TEST_BROKERS) by group as well.

RELEARN_SEVERAL_MINUTES=10 lets instances come and go for so long instead of for a few tellings.
"""
# time-limit: 400
import copy
import os
import random
import signal
import sys
import threading
import time

import requests

from proof import Clients, decoded, script, verified
from relearn_e2e import (
    AGENTS, BIN, CLEAR, CLEAR_LABELS, KAFKA, Installation, alive, pipeline, rows_of, run, wait, write_csv,
)
from torture_story import CALM, Story, World

WORKERS = [*AGENTS[:6], "monitor"]  # those that share partitions
SEED = int(os.environ.get("RELEARN_TEST_SEED") or random.SystemRandom().randrange(10**6))
MINUTES = float(os.environ.get("RELEARN_SEVERAL_MINUTES") or 0)
TELLINGS = 2  # while instances come and go, without RELEARN_SEVERAL_MINUTES
PAUSE_S = (0.3, 1.5)  # between two that come or go
EXTRAS = 3  # instances at most that the supervisor knows nothing of
rng = random.Random(SEED)
BY_GROUP = ["--by-group", "-X", "session.timeout.ms=3000"]
KINDS = [("share", []), ("group", BY_GROUP)] if KAFKA else [("share", [])]  # the embedded bus is slow to notice a death
reference = None  # the story as it ends with one of each


def all_of(n):
    return ",".join(f"{a}={n}" for a in AGENTS)


def visitor(it):
    """The same installation for another thread."""
    other = copy.copy(it)
    other.http = requests.Session()
    other.read_anew()
    other.look()
    return other


def expect_same(found, what):
    global reference
    reference = reference or found
    for line, facts in reference.items():
        if found[line] != facts:
            differing = {k: (found[line][k], v) for k, v in facts.items() if found[line][k] != v} if isinstance(facts, dict) else found[line]
            raise AssertionError(f"{what} (RELEARN_TEST_SEED={SEED}): {line or 'the first line'} ends in another way: {differing}")


def told(world, name):
    expect_same(Story(world, name).tell(), name)


# ---- two and three of each ---------------------------------------------------------------------------------------------


def one_two_and_three_of_each_end_the_same_way():
    for kind, options in KINDS:
        with Installation("several", options) as it:
            world = World(it)
            try:
                told(world, f"{kind}1")
                for n in (2, 3):
                    it.command("scale", *all_of(n).split(","))
                    wait(lambda: len(it.look()) >= n * len(AGENTS), f"{n} of each")
                    it.await_ready()
                    told(world, f"{kind}{n}")
                    assert_shared_out(it, n)
                verified(it)
            except AssertionError:
                it.tell()
                raise
            finally:
                world.close()


def assert_shared_out(it, n):
    """Each instance is one of several, and not of those that do nothing."""
    said = {e["key"] for e in it.events("serving")}
    assert said >= {f"serve-{k + 1}" for k in range(n)}, said


def two_on_the_same_share_by_mistake_end_the_same_way():
    with Installation("mistake", ["--scale", "plan=2,train=2"]) as it:
        world = World(it)
        try:
            told(world, "before")
            for agent in WORKERS:
                share = "2/2" if agent in ("plan", "train") else "1/1"
                it.start_extra(agent, f"{agent}-twin", share=share, data=it.data / "twins")
            told(world, "twins")
            it.end_extra()
            verified(it)
        except AssertionError:
            it.tell()
            raise
        finally:
            world.close()


# ---- come and go -------------------------------------------------------------------------------------------------------


class Crowd:
    """Instances that come and go: by scale, and beside the supervisor by kill -9 and by SIGTERM."""

    def __init__(self, it, by_group):
        self.it, self.by_group = it, by_group
        self.extras, self.killed, self.serial, self.steps = [], {}, 0, 0

    def step(self):
        self.steps += 1
        rng.choice([self.come, self.go, self.come, self.go, self.scale, self.kill])()

    def come(self):
        if len(self.extras) >= EXTRAS:
            self.go()
            return
        self.serial += 1
        agent = rng.choice(WORKERS)
        p, _ = self.it.start_extra(
            agent, f"{agent}-extra{self.serial}", share=None if self.by_group else "1/1", data=self.it.data / "extras",
            options=BY_GROUP[1:] if self.by_group else (),
        )
        self.extras.append(p)

    def go(self):
        if self.extras:
            p = self.extras.pop(rng.randrange(len(self.extras)))
            p.send_signal(rng.choice([signal.SIGKILL, signal.SIGTERM]))
            p.wait()

    def scale(self):
        self.it.command("scale", f"{rng.choice(WORKERS)}={rng.randint(1, 3)}")

    def kill(self):
        """One of the supervisor's; each seldom, since its pauses grow."""
        now = time.monotonic()
        victims = [i for i, c in self.it.look().items() if c["state"] == "ready" and c["agent"] in WORKERS and now - self.killed.get(i, -60) > 35]
        if victims:
            victim = rng.choice(victims)
            self.killed[victim] = now
            self.it.kill(victim)

    def end(self):
        for p in self.extras:
            p.kill()
            p.wait()
        self.it.command("scale", *all_of(1).replace("serve=1", "serve=2").split(","))
        self.it.await_ready()


class Teller(threading.Thread):
    """Tells the story again and again, to an installation that is not calm."""

    def __init__(self, world, until, tellings):
        super().__init__(daemon=True)
        self.world, self.until, self.tellings = world, until, tellings
        self.done, self.error = 0, None
        self.start()

    def run(self):
        try:
            while self.done < self.tellings or time.monotonic() < self.until:
                told(self.world, f"crowd{self.done}")
                self.done += 1
        except BaseException as e:
            self.error = e


def instances_come_and_go_while_work_goes_on():
    for kind, options in KINDS:
        with Installation("crowd", [*options, "--scale", "serve=2"]) as it:
            world = World(it)
            try:
                calm = Story(world, "calm")
                expect_same(calm.tell(), "calm")
                world.it = visitor(it)
                crowd = Crowd(it, kind == "group")
                with Clients(it, calm.one, ["serve-1", "serve-2"], calm.rows()) as clients:
                    teller = Teller(world, time.monotonic() + MINUTES * 60 / len(KINDS), TELLINGS)
                    while teller.is_alive():
                        crowd.step()
                        time.sleep(rng.uniform(*PAUSE_S))  # not a wait for anything: the moment is to be any
                    crowd.end()
                if teller.error:
                    raise teller.error
                clients.assert_none_failed()
                clients.assert_all_recorded(it)
                verified(it)
                print(f"    by {kind}: {teller.done} tellings, {crowd.steps} came or went, {len(clients.answered)} requests", flush=True)
            except AssertionError:
                it.tell()
                raise
            finally:
                world.close()


# ---- a partition that moves in the middle of a training ----------------------------------------------------------------


class Held:
    """A trainer that waits until it may go on."""

    def __init__(self, it):
        self.it, self.gate = it, it.data / "may-train"
        self.script = it.data / "held-trainer"

    def make(self):
        script(self.script, [f"while [ ! -e {self.gate} ]; do sleep 0.05; done", f"exec {BIN}/relearn-trainer train"])
        return self

    def start(self, lines):
        """A run of each line, in the middle of its training. The runs, by line."""
        self.gate.unlink(missing_ok=True)
        dataset = f"held-{lines[0]}"
        for line in lines:
            self.it.apply(pipeline(line, dataset=dataset, train={"trainer": "held", "window": {"snapshots": 1}}))
        event = self.it.publish(dataset, write_csv(self.it.data / "held.csv", rows_of(300, 1)))
        return {line: self.it.plan(line, self.it.snapshot(line, event)["id"])["id"] for line in lines}

    def beats(self, run):
        return [b for b in decoded(self.it.raw("progress"), "training_progressed") if b["run"] == run]

    def await_beat(self, run, **fields):
        def come():
            return next((b for b in reversed(self.beats(run)) if all(b[k] == v for k, v in fields.items())), None)

        return wait(come, lambda: f"a beat {fields} of {run}: {self.beats(run)[-2:]}")

    def finish(self, runs):
        self.gate.touch()
        for line, run_id in runs.items():
            self.it.event("plans", line, kind="closed", run=run_id, outcome="promoted")
            self.it.await_generation(line, 1)

    def results(self, line):
        found = [e["record"] for e in self.it.events("models", line)]
        assert len(found) == 1, found
        return found[0]


def held_installation(name, options, jobs):
    it = Installation(name, options, env={"RELEARN_JOBS": str(jobs)})
    held = Held(it).make()
    it.env["RELEARN_TRAINER"] = f"held={held.script}"
    return it, held


def a_training_goes_on_where_it_is_when_its_partition_moves():
    """By group: a second instance takes partitions over; then it dies, and they come back. By share, where partitions have fixed
    numbers, it is started beside the first one. Either way each run is one attempt of the one that began it."""
    for kind, options in KINDS:
        it, held = held_installation("moved", options, jobs=6)
        with it:
            lines = [f"moved-{n}" for n in range(6)]
            runs = held.start(lines)
            for run_id in runs.values():
                held.await_beat(run_id, instance="train-1")
            log = it.data / "log/train-1.log"
            other, _ = it.start_extra("train", "train-other", share=None if kind == "group" else "1/1", options=options[1:])
            if kind == "group":
                wait(lambda: log.read_text().count("agent.assigned") > 1, "partitions that moved")
            for run_id in runs.values():  # beats that were sent after that
                last = held.beats(run_id)[-1]["beat"]
                wait(lambda: held.beats(run_id)[-1]["beat"] > last, "a beat after the move")
            held.finish(runs)
            for line in lines:
                result = held.results(line)
                assert result["attempt"] == 1 and result["instance"].startswith("train-"), result
            assert all(b["instance"] == "train-1" and b["attempt"] == 1 for r in runs.values() for b in held.beats(r))
            other.terminate()
            other.wait()
            verified(it)


def a_training_is_taken_over_when_its_beats_stop():
    """Its instance is stopped for long and goes on, the zombie; or it is killed, and comes back after somebody else has begun. Either
    way the run is the second attempt of the other one, and has one result."""
    kind, options = KINDS[-1]
    it, held = held_installation("taken", options, jobs=4)
    with it:
        first = held.start(["zombie"])["zombie"]
        held.await_beat(first, instance="train-1", attempt=1)
        it.start_extra("train", "train-other", share=None if kind == "group" else "1/1", options=options[1:])
        pid = it.kill("train-1", signal.SIGSTOP)
        try:
            held.await_beat(first, instance="train-other", attempt=2)
            held.finish({"zombie": first})
        finally:
            os.kill(pid, signal.SIGCONT)
        it.await_idle()
        held.results("zombie")
        assert alive(pid), "it is the same process"

        second = None
        for n in range(8):  # by group it may be the other's line
            line = f"killed-{n}"
            second = held.start([line])[line]
            if held.await_beat(second, attempt=1)["instance"] == "train-1":
                break
            held.finish({line: second})
        os.kill(it.supervisor, signal.SIGSTOP)  # so that it does not come back at once
        try:
            os.kill(pid, signal.SIGKILL)
            # on one share both may have begun at once, each as the first: then the other just goes on
            held.await_beat(second, instance="train-other", **({"attempt": 2} if kind == "group" else {}))
        finally:
            os.kill(it.supervisor, signal.SIGCONT)
        wait(lambda: it.look()["train-1"]["restarts"], "train-1 noticed as dead")
        it.await_ready("train-1")
        held.finish({line: second})
        by = held.results(line)["instance"]  # on one share each of the two is at work, and either may be first
        assert by == "train-other" or kind != "group", by
        assert {b["attempt"] for b in held.beats(second)} == {1, 2} or kind != "group"
        verified(it)


# ---- rolling restart ---------------------------------------------------------------------------------------------------


def everything_is_restarted_one_after_the_other_while_clients_predict():
    """SIGTERM to each instance, the next one when it is back, as an operator would; a dataset is on its way all the time."""
    kind, options = KINDS[-1]
    with Installation("rolling", [*options, "--scale", all_of(2)]) as it:
        line, kept = "rolling", rows_of(300, 1)
        it.apply(pipeline(line, monitor=CALM))
        assert it.learn(line, line, write_csv(it.data / "0.csv", kept))["outcome"] == "promoted"
        it.await_generation(line, 1, "serve-2")
        with Clients(it, line, ["serve-1", "serve-2"]) as clients:
            for n, agent in enumerate(AGENTS, 1):
                event = it.publish(line, write_csv(it.data / f"{n}.csv", rows_of(300 + n, n)))
                for instance in (f"{agent}-1", f"{agent}-2"):
                    restart_politely(it, instance)
                assert it.end_of(line, it.snapshot(line, event)["id"])["outcome"] in ("promoted", "rejected")
        clients.assert_none_failed()
        clients.assert_all_recorded(it)
        assert it.labels_of(line, CLEAR, instance="serve-2") == CLEAR_LABELS
        generations = [r["generation"] for r in it.deployments(line)]
        assert generations == list(range(1, len(generations) + 1)), generations
        verified(it)
        print(f"    by {kind}: {len(clients.answered)} requests, {clients.retried} of them by the second instance", flush=True)


def restart_politely(it, instance):
    before = it.look()[instance]["restarts"]
    it.kill(instance, signal.SIGTERM)
    wait(lambda: it.look()[instance]["restarts"] > before, f"{instance} ended")
    it.await_ready(instance)
    assert it.look()[instance]["last_exit"] == 0, f"{instance} ended with {it.look()[instance]['last_exit']}"


CASES = [
    everything_is_restarted_one_after_the_other_while_clients_predict,
    a_training_goes_on_where_it_is_when_its_partition_moves,
    a_training_is_taken_over_when_its_beats_stop,
    one_two_and_three_of_each_end_the_same_way,
    two_on_the_same_share_by_mistake_end_the_same_way,
    instances_come_and_go_while_work_goes_on,
]

if __name__ == "__main__":
    print(f"RELEARN_TEST_SEED={SEED}", flush=True)
    sys.exit(run(CASES))
