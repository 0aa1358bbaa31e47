"""Event to service: a dataset event, and when its model serves, beside the same calls made back to back in one process."""
import json
import os
import subprocess
import time

from figures import spread
from installation import CHAIN, PROGRAMS, WORK, Bus, Installation, fail, make_rows

SIZES = {1000: 60, 10000: 30, 100000: 10}  # rows: rounds
WARM_UP = 3
GAP_S = 1  # between two rounds: datasets do not come back to back, and the train agent makes itself ready for the next
TIMEOUT_S = 120
PIPELINE = """apiVersion: relearn/v1
kind: Pipeline
name: {name}
dataset: {{name: {name}, label: label}}
task: binary
train:
  window: {{snapshots: 1}}
  params: {{max_depth: 6, eta: 0.1, rounds: 50}}
gate:
  min_rows: 1
  rules: [{{metric: auc, at_least: 0, severity: observe}}]
"""
# What of the bare work a hop has in it; the other hops have none.
WORK_OF = {"snapshots": ("ingest",), "models": ("train", "save"), "evaluations": ("evaluate",), "serving": ("load",)}


class Bare:
    def __init__(self, name):
        folder = WORK / f"bare-{name}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "pipeline.yaml").write_text(PIPELINE.format(name=name))
        self.child = subprocess.Popen([PROGRAMS / "bare", folder / "pipeline.yaml", folder], stdin=subprocess.PIPE, text=True,
                                      stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                      env={**os.environ, "OMP_WAIT_POLICY": "PASSIVE"})  # as the train agent sets it

    def __call__(self, path):
        self.child.stdin.write(f"{path}\n")
        self.child.stdin.flush()
        line = self.child.stderr.readline()
        if not line.startswith("{"):
            fail(f"bare: {line}")
        return json.loads(line)

    def close(self):
        self.child.stdin.close()
        self.child.wait()


def one_loop(bus, name, path):
    ident, began = bus.publish(name, path)
    before, hops = began, {}
    for topic, us in bus.follow(ident, TIMEOUT_S):
        hops[topic] = (us - before) / 1000
        before = us
    return {"ms": (before - began) / 1000, **hops}


def one_size(installation, rows, rounds, say):
    name = f"bench-{rows}"
    installation.apply(PIPELINE.format(name=name))
    bus, bare = Bus(installation), Bare(name)
    loops, bares = [], []
    for i in range(WARM_UP + rounds):
        path = make_rows(WORK / f"rows-{rows}-{i}.csv", rows, i)
        time.sleep(GAP_S)
        pair = (one_loop(bus, name, path), bare(path))
        if i >= WARM_UP:
            loops.append(pair[0])
            bares.append(pair[1])
    bare.close()
    bus.close()
    result = {
        "rows": rows, "rounds": rounds,
        "loop_ms": spread([x["ms"] for x in loops]), "bare_ms": spread([x["ms"] for x in bares]),
        "overhead_ms": spread([x["ms"] - y["ms"] for x, y in zip(loops, bares)]),
        "ratio": spread([x["ms"] / y["ms"] for x, y in zip(loops, bares)]),
        "hops": {topic: spread([x[topic] - sum(y[part] for part in WORK_OF.get(topic, ())) for x, y in zip(loops, bares)])
                 for topic in CHAIN[1:]},
        "bare_parts": {part: spread([y[part] for y in bares])["p50"] for part in bares[0] if part != "ms"},
    }
    say(f"{rows} rows: loop {result['loop_ms']['p50']:.1f} ms, bare {result['bare_ms']['p50']:.1f} ms, overhead p50 "
        f"{result['overhead_ms']['p50']:.1f} p99 {result['overhead_ms']['p99']:.1f} ms")
    return result


def measure(brokers, quick, say):
    with Installation(brokers) as installation:
        return [one_size(installation, rows, max(3, rounds // (10 if quick else 1)), say) for rows, rounds in SIZES.items()]
