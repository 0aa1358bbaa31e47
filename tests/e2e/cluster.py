#!/usr/bin/env python3
"""A Kafka of three brokers, with acks=all and min.insync.replicas=2: restarted one after the other, by SIGTERM and by kill -9, while
clients predict and the line learns; then one is dead for good. And what is said of topics that do not fit or are kept badly, and of
a clock that is off.
Starts its cluster by scripts/with-kafka, beside the one that other tests share.
"""
# buses: kafka
# time-limit: 300
import json
import os
import re
import signal
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path(os.environ.get("RELEARN_TEST_KAFKA_DIR") or "/nowhere")
BROKERS = 3
if not (FOLDER / str(BROKERS)).exists():
    words = ["--brokers", str(BROKERS), "--set", "min.insync.replicas=2", sys.executable, __file__, *sys.argv[1:]]
    os.execv(ROOT / "scripts/with-kafka", ["scripts/with-kafka", *words])

from confluent_kafka import Producer  # noqa: E402 (after the cluster is there)
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic  # noqa: E402

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


def doctor(prefix):
    """What `relearn doctor` says of the topics of that prefix: check -> (level, what, mend)."""
    said = json.loads(it.command("doctor", "--json", "--brokers", KAFKA, "--prefix", prefix, check=False).stdout)
    assert all(f["mend"] for f in said["findings"] if f["level"] != "ok"), said
    found = [f for f in said["findings"] if f["check"] in ("copies", "topics") or (f["check"] == "clocks" and "broker" in f["what"])]
    assert len({f["check"] for f in found}) == 3, said
    return {f["check"]: (f["level"], f["what"], f["mend"]) for f in found}


def ask_for_copies(topic, n):
    setting = ConfigEntry("min.insync.replicas", str(n), incremental_operation=AlterConfigOpType.SET)
    change = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=[setting])
    admin.incremental_alter_configs([change])[change].result(30)


def doctor_says_what_may_be_lost_and_whose_clock_is_off():
    kept, single = f"{it.prefix}kept.", f"{it.prefix}single."
    for prefix, copies in ((kept, 3), (single, 1)):
        it.command("topics", "--brokers", KAFKA, "--prefix", prefix, "--partitions", 2, "--replication", copies)
    said = doctor(kept)
    assert said["copies"][:2] == ("ok", "3 of each topic on 3 brokers, an acknowledgement waits for 2"), said
    assert said["topics"][0] == "ok" and said["clocks"][:2] == ("ok", "no event yet that tells the brokers' clock"), said
    plans = f"{kept}plans"
    ask_for_copies(plans, 1)
    level, what, mend = wait(lambda: (s := doctor(kept)["copies"])[0] != "ok" and s, "the setting seen")
    assert level == "bad" and what.startswith(f"{plans}: what was acknowledged may be lost"), what
    assert f"for t in {plans}; do" in mend and mend.endswith("--add-config min.insync.replicas=2; done"), mend
    said = it.command("topics", "--check", "--brokers", KAFKA, "--prefix", kept, "--partitions", 2, "--replication", 3, check=False)
    assert said.returncode == 1 and "min.insync.replicas 1, should be 2 or more" in said.stdout, said
    ask_for_copies(plans, 2)
    wait(lambda: doctor(kept)["copies"][0] == "ok", "doctor content again")
    level, what, mend = doctor(single)["copies"]
    assert level == "warn" and "one copy only" in what and "relearn topics --replication 3" in mend, (level, what, mend)
    for ahead_s, verdict in ((-1, "ok"), (3600, "bad")):  # the writer's clock; the broker's is ours
        at = datetime.now(timezone.utc) + timedelta(seconds=ahead_s)
        producer = Producer({"bootstrap.servers": KAFKA, "log_level": 0})
        producer.produce(plans, b"", key=b"line", headers=[("ce_time", at.strftime("%Y-%m-%dT%H:%M:%S.%fZ").encode())])
        assert producer.flush(30) == 0
        level, what, mend = doctor(kept)["clocks"]
        assert level == verdict and ("behind" in what) == (verdict == "bad"), (level, what, mend)
    print(f"    {what}", flush=True)
    level, what, _ = doctor(it.prefix)["clocks"]
    assert level == "ok" and "date events as their writers do" in what, what


CASES = [
    doctor_says_what_may_be_lost_and_whose_clock_is_off,
    topics_that_do_not_fit_are_named,
    brokers_are_restarted_one_after_the_other,
    one_is_killed_for_good,
]

if __name__ == "__main__":
    with Installation("cluster", ["--scale", "serve=2"]) as it:
        code = run(CASES, it)
    sys.exit(code)
