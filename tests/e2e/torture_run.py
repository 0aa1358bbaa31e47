"""One installation that suffers faults one after the other: arms a point, tells the story, compares."""
import os
import shutil
import signal
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import confluent_kafka

from fault_control import Control
from relearn_e2e import AGENTS, CONTROL, KAFKA, LOOK_S, Installation, alive, trim, wait
from torture_story import Story, World, behind, pause_for

WORKERS = [*AGENTS[:6], "monitor"]  # those that share partitions: a twin works on while they are stopped
HOLD_S = 1.5  # the others are stopped for so long
RESTARTED = [f"{a}-1" for a in AGENTS] + ([] if KAFKA else ["broker"])  # by their supervisor
TRAINER_KINDS = ("fail", "lost")  # a trainer that is killed has failed: that is what the run then says
TWIN_S = 20  # a twin may take so long to do what its stopped rival owed


@dataclass(frozen=True)
class Fault:
    process: str
    point: str
    kind: str
    nth: int  # 0: on its way up

    def __str__(self):
        return f"{self.process}/{self.point}={self.kind}@{self.nth or 'start'}"


def parse(text):
    process, rest = text.split("/", 1)
    point, rest = rest.split("=", 1)
    kind, _, nth = rest.partition("@")
    return Fault(process, point, kind, 0 if nth == "start" else int(nth or 1))


def difference(after, before):
    return {p: {n: after[p][n] - before[p][n] for n in after[p]} for p in after}


class Torture:
    serial = installations = 0

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="relearn-faults-"))
        Torture.installations += 1
        # On Kafka every second one shares its work by group: there one that is stopped is expelled, and comes back.
        self.group = ["-X", "session.timeout.ms=3000"] if KAFKA and Torture.installations % 2 == 0 else []
        options = ["--by-group", *self.group] if self.group else []
        self.it = Installation("torture", options, env={"RELEARN_FAULTS": str(self.folder)})
        self.is_broken = False

    def __enter__(self):
        self.it.__enter__()
        try:
            self.world = World(self.it)
            self.reference = self.story().tell()
            at_first = self.hits()
            assert self.story().tell() == self.reference, "the story does not always end the same way"
            told = self.hits()
            for process in RESTARTED:
                self.it.kill(process)
            wait(lambda: all(c.get("restarts") for c in self.it.look().values()), "all dead")
            self.await_all()
            self.told, self.up = difference(told, at_first), difference(self.hits(), told)
            self.verify()
        except BaseException:
            self.it.tell()
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *_):
        self.world.close()
        self.it.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def hits(self):
        return {p: c.hits() for p, c in self.controls().items()}

    def controls(self):
        return {p: Control(self.folder, p) for p in [*RESTARTED, "trainer"]}

    def story(self):
        Torture.serial += 1
        return Story(self.world, f"t{Torture.serial}")

    # ---- what there is to suffer

    def all_points(self):
        return {p: {n: (effect, kinds) for n, (_, effect, kinds) in c.points.items()} for p, c in self.controls().items()}

    def faults(self, rng):
        """Each point that the story or the start of a process passes, with each kind; at any of its passes."""
        found = []
        for process, points in self.all_points().items():
            for name, (_, kinds) in sorted(points.items()):
                told, up = self.told[process][name], self.up[process][name]
                if process == "trainer":
                    kinds, up = [k for k in kinds if k in TRAINER_KINDS], 0
                if process == "broker":  # is struck at rest: it passes the same points there
                    told = min(told, 1)
                if told or up:
                    found += [Fault(process, name, kind, rng.randint(1, told) if told else 0) for kind in kinds]
        return found

    # ---- one run

    def suffer(self, faults):
        """Faults of different processes within one telling. Returns {fault: None or "not met"}, and what was wrong or None."""
        controls = {f: Control(self.folder, f.process) for f in faults}
        before = {f: c.fired for f, c in controls.items()}
        story, begin = self.story(), time.monotonic()
        watchers = [Watcher(self.it, f, controls[f], before[f], self.group) for f in faults if f.kind == "stop"]
        wrong = None
        try:
            for fault, control in controls.items():
                control.arm(fault.point, fault.kind, fault.nth or 1)
                if fault.process == "broker":
                    self.strike_broker(fault, control, before[fault])
                elif not fault.nth:
                    self.kill(fault.process)
            wrong = self.compare(story.tell())
            if not wrong:
                self.verify()
                self.assert_nothing_crashed()
                if any(controls[f].points[f.point][1] == "commit" for f in faults):
                    self.assert_committed()
        except Exception as e:
            wrong = trim(e) if isinstance(e, AssertionError) else repr(e)
            self.is_broken = True  # what goes on in there is not these faults' only
            self.tell(story)
        finally:
            for control in controls.values():
                control.disarm()
            for watcher in watchers:
                watcher.end()
            self.it.end_extra()
        found = {f: None if controls[f].fired > before[f] else "not met" for f in faults}
        said = [str(f) + (" (not met)" if found[f] else "") for f in faults]
        print(f"{time.monotonic() - begin:6.2f}s  {', '.join(said)}: {wrong or 'ok'}", flush=True)
        return found, wrong

    def kill(self, process):
        """One that runs: what struck it last may still be felt."""
        def killed():
            try:
                return self.it.look()[process]["state"] == "ready" and self.it.kill(process)
            except ProcessLookupError:
                return None

        wait(killed, f"{process} running")

    def strike_broker(self, fault, control, before):
        """At rest: what its journal has not written when it dies is lost, and it says so. Afterwards everything is as it was."""
        restarts, fired = self.it.look()["broker"]["restarts"], lambda: control.fired > before
        if not fault.nth:
            self.kill("broker")
            pause_for(fired, 5)
        for n in range(20 if fault.nth else 0):  # one journalled event each
            if fired():
                break
            try:
                self.it.http.post(f"{self.it.url('console-1')}/v1/datasets", json={"dataset": "noise", "uri": f"file:///{n}"}, timeout=2)
            except OSError:
                self.it.look()
        deaths = (not fault.nth) + (fired() and fault.kind != "stop" and (fault.kind == "kill" or "journal" in fault.point))
        wait(lambda: self.it.look()["broker"]["restarts"] >= restarts + deaths, "the broker started again")
        self.await_all()

    def await_all(self):
        """Everything runs, on one bus, and what console tells is of it."""
        def clusters():
            try:
                found = {self.it.http.get(f"{c['url']}/status", timeout=5).json()["cluster"] for c in self.it.look().values() if c["agent"] != "broker"}
                return found | {self.it.consumer().list_topics(timeout=5).cluster_id}
            except (OSError, ValueError, confluent_kafka.KafkaException):
                return set()

        wait(lambda: all(c["state"] == "ready" for c in self.it.look().values()) and len(clusters()) == 1, "all on one bus")
        self.it.read_anew()
        self.it.await_idle()

    def tell(self, story):
        """Where it stands: who owes what, and how far each line has come."""
        self.it.tell(3)
        try:
            for who, state, status in story.not_idle():
                print(f"    {who} is {state} and not idle: {status}", flush=True)
            for line in story.lines:
                reached = [(t, len(self.it.events(t, line))) for t in CONTROL]
                last = {t: [e["id"] for e in self.it.events(t, line)][-1:] for t in ("plans", "models")}
                print(f"    {line}: {[r for r in reached if r[1]]} {last}", flush=True)
        except Exception as e:
            print(f"    and cannot be asked: {e!r}", flush=True)

    def compare(self, found):
        for line, facts in self.reference.items():
            if found[line] == facts:
                continue
            differing = [k for k in facts if found[line][k] != facts[k]] if isinstance(facts, dict) else [line]
            what = [(k, found[line][k], facts[k]) for k in differing] if isinstance(facts, dict) else (found[line], facts)
            self.is_broken = True
            return f"{line} ends in another way: {what}"
        return None

    def verify(self):
        """The product's own proof, over the whole log so far."""
        if "verify" in self.it.command("help").stdout:
            p = self.it.command("verify", "--json", check=False)
            assert p.returncode == 0, f"relearn verify: {p.stdout}{p.stderr}"

    def assert_committed(self):
        wait(lambda: not behind(self.it), lambda: f"every position at its end: {behind(self.it)}", 20)

    def assert_nothing_crashed(self):
        bad = {i: c["last_signal"] for i, c in self.it.look().items() if c.get("last_signal") not in (0, None, signal.SIGKILL)}
        assert not bad, f"ended by a signal that nobody sent: {bad}"


class Watcher:
    """Sees to a process that has stopped itself: a worker's work is done by a twin meanwhile, then it goes on, the zombie."""

    def __init__(self, it, fault, control, before, group):
        self.it, self.fault, self.control, self.before, self.group = it, fault, control, before, group
        self.is_over = False
        self.wrong = None
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while self.control.fired == self.before:
            if self.is_over:
                return
            time.sleep(LOOK_S)
        pid = wait(self.stopped, f"{self.fault.process} stopped", 10)
        try:
            agent = self.fault.process.rsplit("-", 1)[0]
            if agent in WORKERS:
                share = None if self.group else "1/1"
                _, url = self.it.start_extra(agent, f"{agent}-twin", share=share, options=self.group)
                end = time.monotonic() + TWIN_S
                while time.monotonic() < end and not self.it.http.get(f"{url}/status", timeout=30).json()["idle"]:
                    time.sleep(LOOK_S)
            else:
                time.sleep(HOLD_S)
        except Exception as e:  # told where it is waited for
            self.wrong = e
        finally:
            if alive(pid):
                os.kill(pid, signal.SIGCONT)

    def stopped(self):
        for c in self.it.status()["instances"]:
            if c["instance"] == self.fault.process and c["pid"]:
                state = Path(f"/proc/{c['pid']}/stat").read_text().rsplit(")")[-1].split()[0]
                return c["pid"] if state == "T" else None
        return None

    def end(self):
        self.is_over = True
        self.thread.join(30)
        if self.wrong:
            print(f"    twin: {self.wrong!r}", flush=True)
