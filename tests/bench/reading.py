"""Ingest: a CSV of 1 GB, on one core, from its event to the snapshot's."""
import os
import time

from figures import cpu_ns, status_kib
from installation import WORK, Bus, Installation, make_rows
from predicting import pin

MEGABYTES = 1000
PIPELINE = """apiVersion: relearn/v1
kind: Pipeline
name: large
dataset: {name: large, label: label}
task: binary
contract:
  rows: {at_least: 1}
  columns:
    f00: {type: float, min: -3, max: 3, missing_at_most: 0.01}
    f01: {type: float, min: -3, max: 3, missing_at_most: 0.01}
plan: {on: []}
"""


def measure(brokers, quick, say):
    megabytes = MEGABYTES // 10 if quick else MEGABYTES
    path = make_rows(WORK / f"rows-{megabytes}mb.csv", "--mb", megabytes, 7)
    with open(path, "rb") as f: # into the page cache: the disk is not what is measured
        while f.read(1 << 24):
            pass
    with Installation(brokers) as installation:
        installation.apply(PIPELINE)
        bus = Bus(installation)
        pid = installation.pid("ingest")
        pin(pid, "0")
        time.sleep(1)
        cpu = cpu_ns(pid)
        ident, began = bus.publish("large", path)
        ((_, ended),) = bus.follow(ident, 600, last="snapshots")
        cpu = (cpu_ns(pid) - cpu) / 1e9
        bus.close()
        seconds = (ended - began) / 1e6
        result = {"bytes": os.path.getsize(path), "seconds": seconds, "cpu_s": cpu,
                  "mb_per_s": os.path.getsize(path) / 1e6 / seconds, "mb_per_cpu_s": os.path.getsize(path) / 1e6 / cpu,
                  "peak_mib": status_kib(pid, "VmHWM") / 1024, "anon_mib": status_kib(pid, "RssAnon") / 1024}
    say(f"ingest {result['mb_per_s']:.0f} MB/s ({result['mb_per_cpu_s']:.0f} a CPU second), peak {result['peak_mib']:.0f} MiB")
    return result
