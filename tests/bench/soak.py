#!/usr/bin/env python3
"""A whole installation under load for a while, its agents restarted one after the other: resident memory and descriptors must not
grow. By hand: `make soak` (MINUTES=30, RATE=2000 events a second, most of them predictions and labels).

What grows by right is the fold: each control event stays in memory (1 to 2 KiB), so the figures are held against the control events
of the same time; the embedded bus until its rings are full (5 MiB a partition), and console until SQLite's page cache is (64 MiB):
a run of some minutes shows these two growing. Prints a table by agent: samples, resident memory at the beginning and the end of the longest life of each
instance, the slope over it in KiB a minute and in bytes a control event, descriptors. Exit code 1 when descriptors grow, a slope
says more than LEAK_BYTES_PER_EVENT and LEAK_KIB_PER_MINUTE, a prediction is refused for good, or a bus or agent is not there at the end.
"""
import argparse
import json
import os
import re
import signal
import socket
import statistics
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))
from relearn_e2e import AGENTS, CONTROL, Installation, alive, confluent_kafka, infer_body, pipeline, requests, rows_of, write_csv  # noqa: E402

TopicPartition = confluent_kafka.TopicPartition

SAMPLE_S, COUNT_S, RESTART_S, DATASET_S, ALERT_S = 5, 30, 20, 60, 10
WARM_UP_S = 60  # of a life: caches and pools fill; a life that ends before counts for nothing
LEAK_KIB_PER_MINUTE, LEAK_BYTES_PER_EVENT = 256, 8192
DESCRIPTORS_MAX = 8  # more than at the beginning of a life: a connection or file that is open just now
CONNECTIONS = 2


class Client(threading.Thread):
    """Asks serve for predictions at a rate over one connection, and gives their labels a second later."""

    def __init__(self, it, line, rate, number):
        super().__init__(daemon=True)
        self.it, self.line, self.rate = it, line, rate
        self.predictions = self.labels = self.failed = 0
        self.stop = False
        self.body = json.dumps(infer_body([{"x1": 0.9, "x2": 0.8, "x3": 0.1 * number}])).encode()

    def connect(self):
        host, port = self.it.url("serve-1").removeprefix("http://").split(":")
        s = socket.create_connection((host, int(port)), timeout=30)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        head = f"POST /v2/models/{self.line}/infer HTTP/1.1\r\nHost: x\r\nContent-Length: {len(self.body)}\r\n\r\n"
        self.request = head.encode() + self.body
        return s

    def ask(self, s):
        s.sendall(self.request)
        got = b""
        while b"\r\n\r\n" not in got:
            piece = s.recv(65536)
            if not piece:
                raise ConnectionError("closed")
            got += piece
        head, _, body = got.partition(b"\r\n\r\n")
        length = int(re.search(rb"(?i)content-length: (\d+)", head)[1])
        while len(body) < length:
            body += s.recv(65536)
        if b" 200 " not in head[:16]:
            raise ConnectionError(head[:40])
        return re.search(rb'"id":\s*"([^"]+)"', body)[1].decode()

    def label(self, ids):
        text = "prediction,value\n" + "".join(f"{i},{'yes' if n % 10 else 'no'}\n" for n, i in enumerate(ids))
        try:
            r = requests.post(f"{self.it.url('console-1')}/v1/labels?line={self.line}", data=text, timeout=60,
                              headers={"Content-Type": "text/csv"})
            self.labels += len(ids) if r.ok else 0
        except (requests.RequestException, KeyError, TypeError):
            pass  # the console is being restarted: some labels less

    def run(self):
        s = None
        while not self.stop:
            began, ids = time.monotonic(), []
            while len(ids) < self.rate and time.monotonic() < began + 1 and not self.stop:
                try:
                    s = s or self.connect()
                    ids.append(self.ask(s))
                except (OSError, TypeError, KeyError, ValueError):  # serve is being restarted
                    self.failed += 1
                    s = None
                    time.sleep(0.05)
            self.predictions += len(ids)
            self.label(ids)
            time.sleep(max(0, began + 1 - time.monotonic()))


class Watch:
    """Samples of every instance, by life (pid)."""

    def __init__(self, it):
        self.it, self.lives = it, {}

    def sample(self, events):
        for name, i in self.it.look().items():
            pid = i["pid"]
            try:
                rss = int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1])
                descriptors = len(os.listdir(f"/proc/{pid}/fd"))
            except (OSError, TypeError):
                continue
            self.lives.setdefault((name, pid), []).append((time.monotonic(), rss, descriptors, events))

    def longest(self, name):
        lives = [s for (n, _), s in self.lives.items() if n == name]
        return max(lives, key=lambda s: s[-1][0] - s[0][0]), len(lives)


def slope(samples):
    """KiB a minute by Theil and Sen: the median of all pairs' slopes, which a jump does not move."""
    pairs = [(b[1] - a[1]) / (b[0] - a[0]) * 60 for n, a in enumerate(samples) for b in samples[n + 1:] if b[0] > a[0]]
    return statistics.median(pairs) if pairs else 0.0


def judge(watch, names):
    head = f"{'instance':12} {'lives':>5} {'life s':>7} {'RSS KiB':>17} {'KiB/min':>9} {'B/event':>8} {'descriptors':>12}"
    print(head)
    bad = []
    for name in names:
        samples, lives = watch.longest(name)
        settled = [s for s in samples if s[0] >= samples[0][0] + WARM_UP_S] or samples
        kib, events = slope(settled), settled[-1][3] - settled[0][3]
        minutes = (settled[-1][0] - settled[0][0]) / 60
        each = kib * 1024 * minutes / events if events > 0 else 0.0
        first, last = settled[0][2], max(s[2] for s in settled[-3:])
        print(f"{name:12} {lives:5} {samples[-1][0] - samples[0][0]:7.0f} {settled[0][1]:8}-{settled[-1][1]:8} {kib:9.1f} {each:8.0f} "
              f"{first:5}-{last:5}")
        if kib > LEAK_KIB_PER_MINUTE and each > LEAK_BYTES_PER_EVENT:
            bad.append(f"{name} grows by {kib:.0f} KiB a minute")
        if last > first + DESCRIPTORS_MAX:
            bad.append(f"{name} had {first} descriptors and has {last}")
    return bad


def soak(it, minutes, rate):
    line = "soak"
    it.apply(pipeline(line, monitor={"window": {"predictions": 2000}, "lateness": "1m"}, plan={"quiet": "5s", "cooldown": {"after_failure": "0s"}}))
    it.learn(line, line, write_csv(it.data / "first.csv", rows_of(400, 1)))
    clients = [Client(it, line, rate // 2 // CONNECTIONS, n) for n in range(CONNECTIONS)]
    watch, restarts, control = Watch(it), 0, Control(it)
    victims = [f"{a}-1" for a in AGENTS]
    for c in clients:
        c.start()
    began = time.monotonic()
    due = {"sample": 0, "restart": RESTART_S, "dataset": DATASET_S, "alert": ALERT_S}
    while time.monotonic() < began + minutes * 60:
        now = time.monotonic() - began
        if now >= due["sample"]:
            watch.sample(control.count())
            due["sample"] += SAMPLE_S
        if due["restart"] <= now < minutes * 30:  # the second half is one long life of each
            os.kill(it.pid(victims[restarts % len(victims)]), signal.SIGKILL if restarts % 2 else signal.SIGTERM)
            restarts += 1
            due["restart"] += RESTART_S
        if now >= due["dataset"]:
            it.publish(line, write_csv(it.data / f"d-{int(now)}.csv", rows_of(400, int(now))))
            due["dataset"] += DATASET_S
        if now >= due["alert"]:
            it.post("/v1/alerts", {"line": line, "value": 0.5, "threshold": 0.2})
            due["alert"] += ALERT_S
        time.sleep(0.2)
    for c in clients:
        c.stop = True
    for c in clients:
        c.join()
    took = time.monotonic() - began
    it.await_ready()
    sent = sum(c.predictions + c.labels for c in clients)
    print(f"{took:.0f} s, {sent / took:.0f} predictions and labels a second ({rate} wanted), {restarts} restarts, {control.count()} control events, "
          f"{sum(c.failed for c in clients)} requests tried again")
    bad = judge(watch, sorted(it.instances))
    return bad + [f"{i} is gone" for i, x in it.look().items() if not alive(x["pid"])]


class Control:
    """How many control events there are: what every fold grows by."""

    def __init__(self, it):
        self.consumer = it.consumer()
        topics = self.consumer.list_topics(timeout=30).topics
        self.parts = [TopicPartition(it.prefix + t, p) for t in CONTROL for p in topics[it.prefix + t].partitions]
        self.n, self.counted = 0, 0

    def count(self):
        if time.monotonic() > self.counted + COUNT_S:
            self.n = sum(self.consumer.get_watermark_offsets(p, timeout=30)[1] for p in self.parts)
            self.counted = time.monotonic()
        return self.n


def main():
    options = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    options.add_argument("--minutes", type=float, default=30)
    options.add_argument("--rate", type=int, default=2000)
    given = options.parse_args()
    with Installation("soak") as it:
        bad = soak(it, given.minutes, given.rate)
    print("\n".join(bad) if bad else "flat")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
