#!/usr/bin/env python3
"""What an installation keeps on disks goes wrong: the artefact store is full, cannot be written, is away, is slow; a model is damaged or
swapped for another; caches and views are deleted, cut short, overwritten. What serves goes on serving, agents say what they miss,
and afterwards everything is as it should be. On the embedded bus, and on Kafka when RELEARN_TEST_BROKERS is set.
"""
# time-limit: 300
import json
import os
import random
import shutil
import signal
import subprocess
import sys

from proof import Clients, Programs, verified
from relearn_e2e import (
    AGENTS, CLEAR, CLEAR_LABELS, Installation, alive, pipeline, rows_of, run, wait, write_csv,
)

SEED = int(os.environ.get("RELEARN_TEST_SEED") or random.SystemRandom().randrange(10**6))
STORE_BYTES = 24 << 20
rng = random.Random(SEED)
it = disk = None


class Disk:
    """A file system of its own for the store, where mounts are possible; else a folder, which a file can take the place of."""

    def __init__(self, folder):
        self.folder, self.store = folder, folder / "store"
        folder.mkdir()
        self.is_mounted = self.mount("-t", "tmpfs", "-o", f"size={STORE_BYTES}", "tmpfs")

    def mount(self, *words):
        return subprocess.run(["mount", *words, self.folder], capture_output=True).returncode == 0

    def end(self):
        if self.is_mounted:
            subprocess.run(["umount", "-l", self.folder], check=True)

    # Each yields what an agent that meets it says.

    def fill(self):
        """Not a byte more; without mounts, no file more."""
        if not self.is_mounted:
            return self.hide()
        with open(self.folder / "filler", "wb", buffering=0) as f:
            try:
                while f.write(bytes(65536)):
                    pass
            except OSError:
                pass
        return "No space left on device"

    def empty(self):
        self.show() if not self.is_mounted else (self.folder / "filler").unlink()

    def forbid(self):
        if not self.is_mounted:
            return self.hide()
        assert self.mount("-o", "remount,ro"), "a file system that can only be read"
        return "Read-only file system"

    def allow(self):
        self.show() if not self.is_mounted else self.mount("-o", "remount,rw")

    def hide(self):
        """As when the disk is not there: another folder with nothing in it."""
        self.store.rename(self.folder / "away")
        return "No such file or directory"

    def show(self):
        if self.store.exists():  # made anew by an agent that was started meanwhile
            shutil.rmtree(self.store)
        (self.folder / "away").rename(self.store)


def said(instance, words):
    """Until the log of an instance says so."""
    log = it.data / "log" / f"{instance}.log"
    wait(lambda: words in log.read_text(errors="replace")[marks.get(instance, 0):], f"'{words}' in {log.name}")


marks = {}


def mark():
    """What is said from now on."""
    for log in (it.data / "log").glob("*.log"):
        marks[log.stem] = len(log.read_text(errors="replace"))


def data(seed, rows=300):
    return write_csv(it.data / f"{seed}.csv", rows_of(rows, seed))


def begin(line, **parts):
    it.apply(pipeline(line, **parts))
    assert it.learn(line, line, data(1))["outcome"] == "promoted"
    assert it.labels_of(line, CLEAR) == CLEAR_LABELS


def outcome(line, event):
    snapshot = it.snapshot(line, event)
    assert snapshot["status"] == "accepted", snapshot["reason"]
    return it.end_of(line, snapshot["id"])["outcome"]


# ---- the store ---------------------------------------------------------------------------------------------------------


def suffer(line, strike, mend):
    """A dataset comes while the store is not as it should be: it is taken as soon as it is, and meanwhile the model serves."""
    begin(line)
    with Clients(it, line, ["serve-1"], threads=1) as clients:
        mark()
        words = strike()
        event = it.publish(line, data(2, 400))
        said("ingest-1", words)
        assert not it.events("snapshots", line, cause=event), "nothing is answered as long as it may get better"
        before = len(clients.answered)
        wait(lambda: len(clients.answered) > before + 5, "predictions meanwhile")
        mend()
        assert outcome(line, event) == "promoted"
    clients.assert_none_failed()
    clients.assert_all_recorded(it)
    assert it.serves(line)["generation"] == 2
    verified(it)


def a_full_store_is_waited_for():
    suffer("full", disk.fill, disk.empty)


def a_store_that_cannot_be_written_is_waited_for():
    suffer("readonly", disk.forbid, disk.allow)


def a_store_that_is_away_is_waited_for():
    suffer("away", disk.hide, disk.show)


SLOW_DISK = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>
int fsync(int fd)
{
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    if (access(getenv("SLOW_DISK_FILE"), F_OK) == 0)
        usleep(400000);
    return real(fd);
}
"""


def slow_programs(switch):
    """Agents to which each sync takes 0.4 s, as on a disk that is busy, while a file is there."""
    programs = Programs()
    source, library = programs.folder / "slow.c", programs.folder / "slow.so"
    source.write_text(SLOW_DISK)
    subprocess.run([os.environ.get("CC") or "cc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    for agent in AGENTS:
        programs.wrap(f"relearn-{agent}", [f"export LD_PRELOAD={library} SLOW_DISK_FILE={switch}"])
    return programs


def a_slow_store_is_only_slow():
    """A dataset takes longer; who answers and who beats does so as always, and nobody gives up."""
    global it
    outer, switch = it, it.data / "slow"
    programs = slow_programs(switch)
    it = Installation("slow")
    it.programs = programs.folder
    try:
        with it:
            begin("slow")
            switch.touch()
            with Clients(it, "slow", ["serve-1"], threads=1) as clients:
                event = it.publish("slow", data(2, 400))
                assert outcome("slow", event) == "promoted"
                for agent in AGENTS:
                    assert it.http.get(f"{it.instances[f'{agent}-1']['url']}/readyz", timeout=30).ok, agent
            clients.assert_none_failed()
            assert not it.events("plans", "slow", outcome="failed")
            switch.unlink()
            verified(it)
    finally:
        it = outer
        programs.close()


def agents_that_start_without_their_store_say_so_and_come_up_when_it_is_back():
    """It can be read only, so those who only read are up at once; then it is away, and those that are up stay."""
    line = "started"
    begin(line)
    disk.forbid()
    try:
        for instance in ("gate-1", "serve-1", "ingest-1"):
            it.restart(instance)
        assert it.labels_of(line, CLEAR) == CLEAR_LABELS
    finally:
        disk.allow()
    assert outcome(line, it.publish(line, data(3, 500))) == "promoted"
    verified(it)


def a_run_that_meets_a_full_store_ends_as_a_run():
    """At every later hop: train, evaluate. A run may fail then, but it ends, and the next one is as if nothing had been."""
    line = "later"
    begin(line)
    it.kill("train-1", signal.SIGSTOP)
    event = it.publish(line, data(4, 600))
    trigger = it.snapshot(line, event)["id"]
    run_id = it.plan(line, trigger)["id"]
    mark()
    words = disk.fill()
    pid = it.kill("train-1", signal.SIGCONT)
    assert alive(pid)
    said("train-1", words)
    disk.empty()
    end = it.event("plans", line, kind="closed", run=run_id)["record"]
    assert end["outcome"] == "promoted" or words in end["reason"], end
    assert it.learn(line, line, data(5, 700))["outcome"] in ("promoted", "rejected")
    verified(it)


# ---- models ------------------------------------------------------------------------------------------------------------


def stored(digest):
    return disk.store / "sha256" / digest[:2] / digest[2:]


def model_file(record):
    return stored(json.loads(stored(record["model"]).read_text())["file"]["sha256"])


def waiting_candidate(line, seed):
    """A candidate that a person has to approve; its evaluation."""
    event = it.publish(line, data(seed, 300 + seed))
    trigger = it.snapshot(line, event)["id"]
    run_id = it.plan(line, trigger)["id"]
    it.event("decisions", line, run=run_id, verdict="wait")
    return next(e["record"] for e in it.events("models", line) if e["record"]["run"] == run_id)


def a_model_that_was_damaged_or_swapped_is_not_served():
    """The candidate's bytes change between its evaluation and its promotion. Serve says why it does not serve them; the one before
    answers on, and is the champion again, of a generation of its own."""
    line = "swapped"
    it.apply(pipeline(line, gate={"approval": "manual"}))
    first = waiting_candidate(line, 1)
    it.command("approve", line)
    it.await_generation(line, 1)
    good, damaged = model_file(first).read_bytes(), {}
    with Clients(it, line, ["serve-1"], threads=1) as clients:
        for n, change in enumerate([lambda b: good, lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b[:9] + bytes([b[9] ^ 1]) + b[10:]]):
            candidate = waiting_candidate(line, 11 + n)
            path = model_file(candidate)
            damaged[path] = path.read_bytes()
            path.write_bytes(change(damaged[path]))
            it.post("/v1/commands", {"line": line, "command": "approve"})
            change = it.event("deployments", line, kind="changed", run=candidate["run"])["record"]
            back = it.event("deployments", line, kind="changed", generation=change["generation"] + 1)["record"]
            assert back["action"] == "rollback", back
            it.await_generation(line, back["generation"])
            failed = [
                s["reason"] for e in it.events("serving", "serve-1") for s in e["record"]["lines"]
                if s["line"] == line and s["state"] == "failed" and s["sequence"] == change["base"] + 1
            ]
            assert failed and "damaged" in failed[0], (failed, change, it.events("serving", "serve-1")[-2:])
            assert it.predict(line, CLEAR)["parameters"]["model"] == first["model"]
    clients.assert_none_failed()
    for path, right in damaged.items():
        path.write_bytes(right)
    verified(it)


def a_model_that_is_damaged_before_it_is_compared_is_no_candidate():
    """It is not promoted, the line goes on, and somebody is told."""
    line = "compared"
    begin(line)
    pid = it.kill("evaluate-1", signal.SIGSTOP)
    trigger = it.snapshot(line, it.publish(line, data(21, 500)))["id"]
    run_id = it.plan(line, trigger)["id"]
    candidate = it.event("models", line, run=run_id)["record"]
    path = model_file(candidate)
    right = path.read_bytes()
    path.write_bytes(right[:-9])
    mark()
    os.kill(pid, signal.SIGCONT)
    end = it.end_of(line, trigger)
    assert end["outcome"] not in ("promoted", None), end
    assert it.deployment(line)["generation"] == 1 and it.labels_of(line, CLEAR) == CLEAR_LABELS
    path.write_bytes(right)
    print(f"    {end['outcome']}: {end['reason']}", flush=True)
    assert it.learn(line, line, data(22, 700))["outcome"] == "promoted"
    verified(it)


# ---- caches and views --------------------------------------------------------------------------------------------------


def cut(path):
    os.truncate(path, path.stat().st_size // 2)


def empty(path):
    os.truncate(path, 0)


def overwrite(path):
    """Pages in the middle, which are found bad only when they are read."""
    n = path.stat().st_size
    with open(path, "r+b") as f:
        f.seek(n // 4)
        f.write(rng.randbytes(n // 2))


def behead(path):
    with open(path, "r+b") as f:
        f.write(rng.randbytes(64))


def remove(path):
    path.unlink()


def turn_into_a_folder(path):
    path.unlink()
    path.mkdir()


def caches_and_views_that_are_damaged_are_made_anew():
    """Every agent dies, each with another damage to its files, turn about; the line goes on as if nothing had been."""
    line = "cached"
    begin(line)
    damages = [cut, empty, overwrite, behead, remove, turn_into_a_folder]
    rounds = 3
    for n in range(rounds):
        it.await_idle()
        os.kill(it.supervisor, signal.SIGSTOP)  # so that nobody is back before the damage is done
        try:
            pids = {i: c["pid"] for i, c in it.instances.items() if c["agent"] in AGENTS}
            for pid in pids.values():
                os.kill(pid, signal.SIGKILL)
            wait(lambda: not any(alive(p) for p in pids.values()), "all dead")
            for k, instance in enumerate(sorted(pids)):
                for path in sorted((it.data / "state" / instance).rglob("*.db*")):
                    if path.is_file():
                        damage = damages[(k + n * 2) % len(damages)]
                        (remove if damage is turn_into_a_folder and path.name != "cache.db" else damage)(path)
        finally:
            os.kill(it.supervisor, signal.SIGCONT)
        wait(lambda: not any(c["pid"] in pids.values() for c in it.look().values()), "new processes")
        it.await_ready()
        it.read_anew()
        assert it.learn(line, line, data(30 + n, 400 + 100 * n))["outcome"] == "promoted"
        assert it.serves(line)["generation"] == n + 2
    verified(it)


def a_cache_that_is_overwritten_under_its_agent_changes_nothing():
    """While they run; found bad, the cache is given up or the agent starts anew, and says so."""
    line = "under"
    begin(line)
    for folder in (it.data / "state").glob("*"):
        for path in folder.rglob("*.db"):
            if path.is_file():
                overwrite(path)
    for n in range(3):
        assert it.learn(line, line, data(40 + n, 400 + 100 * n))["outcome"] == "promoted"
    for agent in AGENTS:
        it.restart(f"{agent}-1")
    it.read_anew()
    assert it.learn(line, line, data(50, 900))["outcome"] == "promoted"
    assert it.serves(line)["generation"] == 5
    verified(it)


CASES = [
    a_full_store_is_waited_for,
    a_store_that_cannot_be_written_is_waited_for,
    a_store_that_is_away_is_waited_for,
    a_slow_store_is_only_slow,
    agents_that_start_without_their_store_say_so_and_come_up_when_it_is_back,
    a_run_that_meets_a_full_store_ends_as_a_run,
    a_model_that_was_damaged_or_swapped_is_not_served,
    a_model_that_is_damaged_before_it_is_compared_is_no_candidate,
    caches_and_views_that_are_damaged_are_made_anew,
    a_cache_that_is_overwritten_under_its_agent_changes_nothing,
]


def main():
    global it, disk
    it = Installation("store")
    disk = Disk(it.data / "disk")
    it.options += ["--artifacts", f"file://{disk.store}"]
    print(f"RELEARN_TEST_SEED={SEED}; {'a' if disk.is_mounted else 'no'} file system of its own", flush=True)
    try:
        with it:
            return run(CASES, it)
    finally:
        disk.end()


if __name__ == "__main__":
    sys.exit(main())
