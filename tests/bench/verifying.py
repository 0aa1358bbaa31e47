#!/usr/bin/env python3
"""How long `relearn verify` takes over a long log, and how much memory: scripts/with-kafka tests/bench/verifying.py [EVENTS...]
(default 1,000,000 and 10,000,000). A real installation makes the control events; longlog puts predictions, labels and
measurements beside them while the agents are held.
"""
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))
from relearn_e2e import BUILD, KAFKA, Installation, pipeline, rows_of, write_csv  # noqa: E402

LONGLOG = BUILD / "plain/tests/bench/longlog"


SEGMENTS = 24


def make_loop(it):
    """Each segment has a model in service; which one."""
    p = pipeline("long")
    p["dataset"]["segment"] = "s"
    it.apply(p)
    rows = [r | {"s": f"s{i % SEGMENTS}"} for i, r in enumerate(rows_of(300 * SEGMENTS, 1))]
    event = it.publish("long", write_csv(it.data / "a.csv", rows))
    lines = [f"long/s{i}" for i in range(SEGMENTS)]
    for line in lines:
        it.end_of(line, it.snapshot(line, event)["id"])
    it.await_idle()
    return [f"{line}={it.deployment(line)['model']}" for line in lines]


def measure(it, events):
    lines = make_loop(it)
    held = [it.supervisor, *(c["pid"] for c in it.look().values())]
    for pid in held:
        os.kill(pid, signal.SIGSTOP)
    try:
        subprocess.run([LONGLOG, it.bus, it.prefix, str(events), *lines], check=True)
        start, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
        p = it.command("verify", "--json", check=False, seconds=3600)
        took, after = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    finally:
        for pid in held[1:]:
            os.kill(pid, signal.SIGKILL)  # they would read all of it
        os.kill(held[0], signal.SIGCONT)
    said = json.loads(p.stdout)
    assert p.returncode == 0, said["violations"][:3]
    n, cpu = sum(said["events"].values()), after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(f"| {n:,} | {took:.0f} | {n / took:,.0f} | {cpu:.0f} | {said['max_rss_bytes'] / 2**20:.0f} MiB |", flush=True)


def main():
    assert KAFKA, "the embedded bus keeps 5 MiB a partition: run it by scripts/with-kafka"
    sizes = [int(a.replace(",", "")) for a in sys.argv[1:]] or [100_000, 1_000_000, 10_000_000]
    print("| events | seconds | events a second | CPU seconds | peak memory |\n| --- | --- | --- | --- | --- |", flush=True)
    for events in sizes:
        with Installation("long", partitions=12) as it:
            measure(it, events)


if __name__ == "__main__":
    main()
