#!/usr/bin/env python3
"""Events that do not come as they should: each of them ten times and more, topics in the wrong order, a year late, ten thousand alerts
at once, labels before their predictions, one id with different bytes, and a loop that feeds itself. On the embedded bus, and on Kafka
when RELEARN_TEST_BROKERS is set.
"""
# time-limit: 300
import contextlib
import os
import random
import signal
import sys
import threading
import time

from proof import decoded, encoded, verified, violations
from relearn_e2e import (
    AGENTS, CLEAR, CLEAR_LABELS, CONTROL, Installation, header, pipeline, rows_of, run, wait, write_csv,
)
from torture_story import CALM, Story, World

SEED = int(os.environ.get("RELEARN_TEST_SEED") or random.SystemRandom().randrange(10**6))
rng = random.Random(SEED)
ALERTS = 10_000
LINES = 1_000
TIMES = 10
YEAR_MS = 365 * 86400 * 1000
SCHEMAS = {
    "pipelines": "pipeline_declared", "datasets": "dataset_published", "snapshots": "dataset_ingested", "drift": "drift_detected",
    "commands": "operator_commanded", "plans": "training_planned", "models": "training_finished", "evaluations": "model_evaluated",
    "decisions": "gate_decided", "deployments": "deployment_changed", "health": "health_measured", "predictions": "prediction_served",
    "labels": "label_observed",
}
it = None


def data(seed, rows=300):
    return write_csv(it.data / f"{seed}.csv", rows_of(rows, seed))


def begin(line, **parts):
    it.apply(pipeline(line, **parts))
    assert it.learn(line, line, data(1))["outcome"] == "promoted"


def alert_like(line):
    """The message of an alert, and how it ended."""
    event = it.post("/v1/alerts", {"line": line, "source": "tester"})["event"]
    it.end_of(line, event)
    return next(m for m in it.raw("drift") if header(m, "ce_id") == event)


def ids(topic):
    return [e["id"] for e in it.events(topic)]


# ---- again and again ---------------------------------------------------------------------------------------------------


class Echo(threading.Thread):
    """Sends each message of the control topics again, in any order, until each has come ten times and the story is over."""

    def __init__(self):
        super().__init__(daemon=True)
        self.sent, self.is_over, self.error = {}, threading.Event(), None
        self.start()

    def run(self):
        try:
            while self.round() or not self.is_over.is_set():
                pass
        except Exception as e:
            self.error = e

    def round(self):
        n = 0
        for topic in rng.sample(CONTROL, len(CONTROL)):
            first = {header(m, "ce_id"): m for m in reversed(it.raw(topic)) if header(m, "ce_id")}
            again = [m for i, m in first.items() if self.sent.get((topic, i), 0) < TIMES]
            rng.shuffle(again)
            for m in again:
                key = (topic, header(m, "ce_id"))
                self.sent[key] = self.sent.get(key, 0) + 2
            n += len(again)
            it.produce(topic, [(m.key(), m.value(), m.headers(), m.partition()) for m in again * 2])
        return n


def without_dead(facts):
    """Bytes that are no event have no id that could count once: each copy of them is a dead letter."""
    return {line: found for line, found in facts.items() if line != "dead"}


def everything_comes_tenfold_while_it_happens():
    world = World(it)
    try:
        calm = without_dead(Story(world, "calm").tell())
        echo = Echo()
        found = without_dead(Story(world, "echo").tell())
        echo.is_over.set()
        echo.join(120)
        assert not echo.is_alive() and not echo.error, echo.error
        assert found == calm, [(k, v, calm[line][k]) for line in found for k, v in found[line].items() if v != calm[line][k]]
        it.await_idle()
        before = {t: len(ids(t)) for t in CONTROL}
        for agent in AGENTS[:6]:
            it.restart(f"{agent}-1")
        it.await_idle()
        assert {t: len(ids(t)) for t in CONTROL} == before, "nothing comes of what was there already"
        print(f"    {sum(echo.sent.values())} repeats of {len(echo.sent)} events", flush=True)
        verified(it)
    finally:
        world.close()


# ---- in another order, and late ----------------------------------------------------------------------------------------


def earlier(value, by_ms):
    """A record whose times are all earlier."""
    if isinstance(value, dict):
        return {k: v - by_ms if k.endswith("_unix_ms") and isinstance(v, int) and v > 0 else earlier(v, by_ms) for k, v in value.items()}
    return [earlier(v, by_ms) for v in value] if isinstance(value, list) else value


def copied(messages, topic, by_ms):
    """The same messages for another installation, with times that are earlier by so much."""
    for m in messages:
        value, headers = m.value(), m.headers() or []
        if by_ms and value:
            value = encoded(m, SCHEMAS[topic], earlier(decoded([m], SCHEMAS[topic])[0], by_ms))
            headers = [(k, v.replace(b"2026-", b"2025-", 1) if k == "ce_time" else v) for k, v in headers]
        yield m.key(), value, headers, m.partition()


class Recording:
    """The log of an installation, to be told to another one, which has the same artefact store."""

    def __init__(self, of):
        self.topics = {t: of.raw(t) for t in SCHEMAS}
        self.ids = {t: [header(m, "ce_id") for m in ms] for t, ms in self.topics.items()}

    def play(self, to, order, by_ms=0):
        for topic in order:
            to.produce(topic, list(copied(self.topics[topic], topic, by_ms)))


@contextlib.contextmanager
def held():
    """No agent does anything meanwhile, and all are started anew afterwards: then they read what is there before they act."""
    pids = [c["pid"] for c in it.look().values() if c["agent"] in AGENTS]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
    wait(lambda: all(c["pid"] not in pids for c in it.look().values()), "new processes")
    it.await_ready()


def told_to_another(recording, generation, answers, order, by_ms):
    """Its agents are held until all of it is there, so that they read it in whatever order the bus gives; then the loop goes on."""
    global it
    outer = it
    with Installation("another", ["--artifacts", f"file://{outer.data}/artifacts"], partitions=outer.partitions) as it:
        try:
            with held():
                recording.play(it, order, by_ms)
            it.await_generation("told", generation)
            it.await_idle()
            for topic in ("snapshots", "plans", "models", "evaluations", "decisions", "deployments"):
                new = [e for e in it.events(topic) if e["id"] not in recording.ids[topic]]
                assert not new and len(ids(topic)) == len(set(recording.ids[topic])), f"{topic}: what comes of an old log: {new}"
            assert it.predict("told", CLEAR)["outputs"] == answers
            verified(it)
            assert it.learn("told", "told", data(9, 900))["outcome"] == "promoted"
            assert it.deployment("told")["generation"] == generation + 1
            verified(it)
        except AssertionError:
            it.tell()
            raise
        finally:
            it = outer


def topics_that_are_read_in_the_wrong_order_or_a_year_late_lead_to_the_same():
    begin("told", monitor=CALM)
    assert it.learn("told", "told", data(2, 500))["outcome"] == "promoted"
    it.command("rollback", "told")
    it.await_generation("told", 3)
    answers = it.predict("told", CLEAR)["outputs"]
    it.await_idle()
    recording = Recording(it)
    told_to_another(recording, 3, answers, list(reversed(SCHEMAS)), 0)
    told_to_another(recording, 3, answers, rng.sample(list(SCHEMAS), len(SCHEMAS)), YEAR_MS)


def labels_that_come_before_their_predictions_count():
    """And those that come twice count once."""
    global it
    begin("labelled", monitor=CALM)
    asked = [it.predict("labelled", CLEAR)["parameters"]["prediction"] for _ in range(10)]
    labels = [{"prediction": f"{p}.{i}", "value": CLEAR_LABELS[i]} for p in asked for i in range(2)]
    it.post("/v1/labels", {"line": "labelled", "labels": labels})
    quality = it.event("health", "labelled", kind="quality", window=0)["record"]
    it.await_idle()
    recording, outer = Recording(it), it
    first = [t for t in SCHEMAS if t not in ("health", "predictions", "labels")]
    with Installation("labels", ["--artifacts", f"file://{outer.data}/artifacts"], partitions=outer.partitions) as it:
        try:
            with held():
                recording.play(it, first)
            it.await_generation("labelled", 1)
            recording.play(it, ["labels", "labels"])
            wait(lambda: it.metric("monitor-1", "labels_held") >= len(labels), "labels that wait for their predictions")
            recording.play(it, ["predictions", "labels"])
            again = it.event("health", "labelled", kind="quality", window=0)["record"]
            for what in ("labels", "predictions", "quality"):
                assert again[what] == quality[what], (what, again, quality)
            verified(it)
        except AssertionError:
            it.tell()
            raise
        finally:
            it = outer


# ---- many at once ------------------------------------------------------------------------------------------------------


def settled(alerts):
    """Those of the alerts that a plan has answered: requested, merged or ignored, and not only deferred."""
    answered = set()
    for e in it.events("plans"):
        if e["record"]["kind"] != "deferred":
            answered |= {e["cause"], *e["record"]["covers"]}
    return answered & alerts


def storm(messages):
    """Sends alerts all at once; how long until each has been answered."""
    begun = time.monotonic()
    it.produce("drift", messages)
    sent = time.monotonic() - begun
    alerts = {h["ce_id"] for _, _, h, _ in messages}
    wait(lambda: len(settled(alerts)) == len(alerts), lambda: f"{len(alerts)} answers, but {len(settled(alerts))}", 120)
    it.await_idle()
    return sent, time.monotonic() - begun


def ten_thousand_alerts_for_one_line_are_a_few_runs():
    begin("storm")
    m = alert_like("storm")
    before = len(it.events("plans", "storm", kind="requested"))
    sent, took = storm([(m.key(), m.value(), {"ce_id": f"storm-{n}"}, m.partition()) for n in range(ALERTS)])
    runs = len(it.events("plans", "storm", kind="requested")) - before
    assert 1 <= runs <= 20, f"{runs} runs"
    assert it.learn("storm", "storm", data(3, 600))["outcome"] == "promoted"
    print(f"    sent in {sent:.1f} s, settled in {took:.1f} s, {runs} runs, {it.metric('plan-1', 'emitted_total'):.0f} events by plan", flush=True)


def ten_thousand_alerts_for_a_thousand_lines_are_all_answered():
    """Lines that nobody has data for: each alert is answered all the same."""
    begin("wide")
    m = alert_like("wide")
    record = decoded([m], "drift_detected")[0]
    values = [(f"wide-{n}", encoded(m, "drift_detected", record | {"line": f"wide-{n}"})) for n in range(LINES)]
    messages = [(*values[n % LINES], {"ce_id": f"wide-{n}"}, None) for n in range(ALERTS)]
    sent, took = storm([(k.encode(), v, h, p) for k, v, h, p in messages])
    assert it.learn("wide", "wide", data(3, 600))["outcome"] == "promoted"
    print(f"    sent in {sent:.1f} s, settled in {took:.1f} s", flush=True)


# ---- one id, and one's own tail ----------------------------------------------------------------------------------------


class Feedback(threading.Thread):
    """A tool that takes each new generation for drift, and says what caused its alert."""

    def __init__(self, line, like):
        super().__init__(daemon=True)
        self.line, self.like, self.alerts, self.is_over = line, like, [], threading.Event()
        self.start()

    def run(self):
        while not self.is_over.wait(0.05):
            for m in it.raw("deployments"):
                cause = header(m, "ce_id")
                alert = f"feedback-{cause}"
                if m.key() == self.line.encode() and alert not in self.alerts:
                    hops = int(header(m, "ce_hops")) + 1
                    headers = {"ce_id": alert, "ce_causationid": cause, "ce_hops": str(hops)}
                    it.produce("drift", [(self.like.key(), self.like.value(), headers, self.like.partition())])
                    self.alerts.append(alert)


def a_loop_that_feeds_itself_ends():
    begin("tail", plan={"quiet": "0s", "max_hops": 20})
    feedback = Feedback("tail", alert_like("tail"))

    def refused():
        return [e["record"] for e in it.events("plans", "tail", kind="ignored") if "because of itself" in e["record"]["reason"]]

    try:
        wait(refused, "an alert that is refused")
    finally:
        feedback.is_over.set()
        feedback.join()
    assert "plan.max_hops is 20" in refused()[0]["reason"], refused()
    it.await_idle()
    assert it.learn("tail", "tail", data(5, 700))["outcome"] == "promoted"  # what begins anew is no loop
    verified(it)


def a_dataset_that_is_named_twice_with_different_bytes_counts_once():
    begin("named")
    before = len(it.events("snapshots", "named"))
    event = it.publish("named", data(2, 400))
    assert it.end_of("named", it.snapshot("named", event)["id"])["outcome"] == "promoted"
    m = next(m for m in it.raw("datasets") if header(m, "ce_id") == event)
    record = decoded([m], "dataset_published")[0]
    other = encoded(m, "dataset_published", record | {"uri": f"file://{data(3, 500)}"})
    it.produce("datasets", [(m.key(), other, m.headers(), m.partition())])
    data(2, 450)  # and the bytes that it named first have changed
    it.lose_state("ingest-1")
    it.await_idle()
    assert len(it.events("snapshots", "named")) == before + 1 and it.deployment("named")["generation"] == 2
    assert it.learn("named", "named", data(4, 600))["outcome"] == "promoted"
    it.await_idle()
    p = it.command("verify", "--json", check=False)
    assert p.returncode == 1 and event in p.stdout, f"verify names the id that stands for two things: {violations(p.stdout)}"


CASES = [
    topics_that_are_read_in_the_wrong_order_or_a_year_late_lead_to_the_same,
    labels_that_come_before_their_predictions_count,
    everything_comes_tenfold_while_it_happens,
    a_loop_that_feeds_itself_ends,
    ten_thousand_alerts_for_a_thousand_lines_are_all_answered,
    ten_thousand_alerts_for_one_line_are_a_few_runs,
    a_dataset_that_is_named_twice_with_different_bytes_counts_once,
]

if __name__ == "__main__":
    print(f"RELEARN_TEST_SEED={SEED}", flush=True)
    with Installation("events") as it:
        code = run(CASES, it)
    sys.exit(code)
