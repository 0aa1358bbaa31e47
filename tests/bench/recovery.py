"""After a death: how long the work of a killed instance stands still, and how long an agent takes to know again what the log
says, from an empty folder and from its cache."""
import os
import re
import shutil
import signal
import subprocess
import time

import requests

import history
from figures import cpu_ns, spread
from installation import BIN, WORK, Installation, fail

LOOPS = 25000  # of history: ten events each
TABLES = {  # control topics that are folded before an agent is ready
    "ingest": ["snapshots"],
    "plan": ["snapshots", "models", "decisions", "deployments", "plans"],
    "train": ["plans", "models"],
    "evaluate": ["models", "decisions", "deployments", "evaluations"],
    "gate": ["evaluations", "deployments", "decisions"],
    "deploy": ["decisions", "health", "deployments"],
    "monitor": ["deployments", "health"],
    "console": ["snapshots", "plans", "models", "evaluations", "decisions", "deployments", "health"],
}
ROUNDS, TAKEOVERS, LINES = 3, 3, 24
READY_S = 120


# ---- recovery


def start_to_ready(agent, installation, folder):
    """Milliseconds, from the agent's own log, and of CPU; it is stopped then."""
    log = folder.parent / f"{agent}.log"
    words = ["--brokers", installation.brokers, "--prefix", installation.prefix, "--share", "1/1", "--data", folder, "--instance",
             f"{agent}-bench", "--artifacts", f"file://{installation.data}/artifacts"]
    with open(log, "wb") as out:
        process = subprocess.Popen([BIN / f"relearn-{agent}", *map(str, words)], stdout=out, stderr=out)
    end = time.monotonic() + READY_S
    found = None
    while not found:
        found = re.search(r"agent\.ready .*?ms=(\d+)", log.read_text(errors="replace"))
        if process.poll() is not None or time.monotonic() > end:
            fail(f"{agent} is not ready: {log.read_text()[-500:]}")
        time.sleep(0.01)
    cpu_ms = cpu_ns(process.pid) / 1e6
    process.send_signal(signal.SIGTERM)  # what it has folded is in its cache
    process.wait()
    return int(found[1]), cpu_ms


def recover(brokers, loops, say):
    rows = {}
    with Installation(brokers) as installation:
        supervisor = installation.kill_agents()
        written = history.write(installation.brokers, installation.prefix, loops)
        try:
            for agent, topics in TABLES.items():
                empty, cpu, cached = [], [], []
                for _ in range(ROUNDS):
                    folder = WORK / "recovery"
                    shutil.rmtree(folder, ignore_errors=True)
                    folder.mkdir(parents=True)
                    ms, cpu_ms = start_to_ready(agent, installation, folder / "data")
                    empty.append(ms)
                    cpu.append(cpu_ms)
                    cached.append(start_to_ready(agent, installation, folder / "data")[0])
                events = sum(written[t] for t in topics)
                rows[agent] = {"events": events, "empty_ms": spread(empty), "cpu_ms": spread(cpu), "cached_ms": spread(cached)}
                say(f"{agent}: {events} events, empty {spread(empty)['p50']:.0f} ms, CPU {spread(cpu)['p50']:.0f} ms, cached {spread(cached)['p50']:.0f} ms")
        finally:
            os.kill(supervisor, signal.SIGCONT)
    return rows


# ---- takeover


def ask(installation, line, word):
    r = requests.post(f"{installation.url('console')}/v1/commands", json={"line": line, "command": word, "by": "bench"}, timeout=60)
    r.raise_for_status()
    return r.json()["event"]


def answered(installation, ident):
    r = requests.get(f"{installation.url('console')}/v1/answer", params={"id": ident, "wait_ms": 120000}, timeout=150)
    if not r.ok:
        fail(f"no answer to {ident}: {r.status_code} {r.text[:200]}")


def pause_all(installation, word):
    asked = [ask(installation, f"takeover/s{n}", word) for n in range(LINES)]
    for ident in asked:
        answered(installation, ident)


def takeover(brokers, options, say, what):
    """From kill -9 of one of two instances of plan to the answer of the last of commands to many lines, given right after it."""
    found = []
    with Installation(brokers, options=[*options, "--scale", "plan=2"]) as installation:
        installation.apply(history.PIPELINE.replace("history", "takeover"))
        pause_all(installation, "pause")
        for i in range(TAKEOVERS):
            instances = installation.look()
            victim = next(x for x in instances if x["agent"] == "plan")
            began = time.monotonic()
            os.kill(victim["pid"], signal.SIGKILL)
            pause_all(installation, "resume" if i % 2 == 0 else "pause")
            found.append((time.monotonic() - began) * 1000)
            installation.await_ready()
            pause_all(installation, "pause" if i % 2 == 0 else "resume")
            pause_all(installation, "resume" if i % 2 else "pause")
    say(f"takeover {what}: {', '.join(f'{ms:.0f}' for ms in found)} ms")
    return spread(found)


def measure(brokers, quick, say):
    return {"takeover_ms": {"by share": takeover(brokers, [], say, "by share"),
                            "by group": takeover(brokers, ["--by-group"], say, "by group")},
            "agents": recover(brokers, LOOPS // (10 if quick else 1), say)}
