#!/usr/bin/env python3
"""A Kafka of three brokers, with acks=all and min.insync.replicas=2: restarted one after the other, by SIGTERM and by kill -9, while
clients predict and the line learns; then one is dead for good. And what an installation says of topics that do not fit.
Starts its cluster by scripts/with-kafka, beside the one that other tests share.
"""
# buses: kafka
# time-limit: 300
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path(os.environ.get("RELEARN_TEST_KAFKA_DIR") or "/nowhere")
BROKERS = 3
if not (FOLDER / str(BROKERS)).exists():
    words = ["--brokers", str(BROKERS), "--set", "min.insync.replicas=2", sys.executable, __file__, *sys.argv[1:]]
    os.execv(ROOT / "scripts/with-kafka", ["scripts/with-kafka", *words])

from confluent_kafka.admin import AdminClient, NewTopic  # noqa: E402 (after the cluster is there)

from proof import Clients, verified  # noqa: E402
from relearn_e2e import (  # noqa: E402
    AGENTS, CLEAR, CLEAR_LABELS, KAFKA, TOPICS, Installation, alive, pipeline, rows_of, run, wait, write_csv,
)

BACK_S = 120  # a broker that was killed reads its log first
admin = AdminClient({"bootstrap.servers": KAFKA, "log_level": 0})
it = None


def copies():
    """How many in-sync copies the partitions of our topics have: the least and the most."""
    topics = admin.list_topics(timeout=30).topics
    found = [len(p.isrs) for t in TOPICS for p in topics[it.prefix + t].partitions.values()]
    return (min(found), max(found)) if found else (0, 0)


def pid_of(n):
    return int((FOLDER / str(n) / "pid").read_text())


def end(n, sig):
    pid = pid_of(n)
    os.kill(pid, sig)
    wait(lambda: not alive(pid), f"broker {n} dead")


def begin_again(n):
    subprocess.Popen([FOLDER / str(n) / "start"], start_new_session=True)
    wait(lambda: copies() == (BROKERS, BROKERS), lambda: f"every copy in step again: {copies()}", BACK_S)


def data(seed, rows=300):
    return write_csv(it.data / f"{seed}.csv", rows_of(rows, seed))


def learn(line, seed):
    assert it.learn(line, line, data(seed, 300 + 20 * seed))["outcome"] in ("promoted", "rejected")


def brokers_are_restarted_one_after_the_other():
    line = "restarted"
    it.apply(pipeline(line))
    learn(line, 1)
    assert copies() == (BROKERS, BROKERS)
    with Clients(it, line, ["serve-1", "serve-2"], threads=1) as clients:
        for n in range(1, BROKERS + 1):
            event = it.publish(line, data(10 + n, 400 + 50 * n))
            end(n, signal.SIGKILL if n == 2 else signal.SIGTERM)
            assert it.end_of(line, it.snapshot(line, event)["id"])["outcome"] in ("promoted", "rejected")
            learn(line, 20 + n)
            begin_again(n)
    clients.assert_none_failed()
    clients.assert_all_recorded(it)
    assert it.labels_of(line, CLEAR) == CLEAR_LABELS
    verified(it)
    print(f"    {len(clients.answered)} requests", flush=True)


def one_is_killed_for_good():
    """Nobody is restarted by it, and who is started later finds the others."""
    line = "for-good"
    it.apply(pipeline(line))
    learn(line, 1)
    before = {i: c["restarts"] for i, c in it.look().items()}
    with Clients(it, line, ["serve-1", "serve-2"], threads=1) as clients:
        event = it.publish(line, data(2, 500))
        end(1, signal.SIGKILL)  # the first in everybody's list
        assert it.end_of(line, it.snapshot(line, event)["id"])["outcome"] in ("promoted", "rejected")
        learn(line, 3)
    clients.assert_none_failed()
    clients.assert_all_recorded(it)
    assert copies() == (BROKERS - 1, BROKERS - 1) and {i: c["restarts"] for i, c in it.look().items()} == before
    for agent in AGENTS:
        it.restart(f"{agent}-1")
    learn(line, 4)
    verified(it)


def topics_that_do_not_fit_are_named():
    """One with fewer partitions than the others: `topics --check` says so, and so does `up`, which does not start."""
    prefix = f"{it.prefix}few."
    admin.create_topics([NewTopic(f"{prefix}plans", 1, BROKERS)])[f"{prefix}plans"].result(30)
    wait(lambda: f"{prefix}plans" in admin.list_topics(timeout=30).topics, "the topic")
    said = it.command("topics", "--brokers", KAFKA, "--prefix", prefix, "--partitions", 3, check=False)
    checked = it.command("topics", "--check", "--brokers", KAFKA, "--prefix", prefix, "--partitions", 3, check=False)
    assert checked.returncode == 1 and f"{prefix}plans" in checked.stdout + checked.stderr, (said, checked)
    few = Installation("few", partitions=3)
    few.prefix = prefix
    try:
        p = few.command("up", "--prefix", prefix, "--partitions", 3, "--brokers", KAFKA, check=False)
        assert p.returncode == 1 and re.search(rf"{re.escape(prefix)}plans has 1\b", p.stderr), p
        print(f"    {p.stderr.strip()[:400]}", flush=True)
    finally:
        few.close()


CASES = [
    topics_that_do_not_fit_are_named,
    brokers_are_restarted_one_after_the_other,
    one_is_killed_for_good,
]

if __name__ == "__main__":
    with Installation("cluster", ["--scale", "serve=2"]) as it:
        code = run(CASES, it)
    sys.exit(code)
