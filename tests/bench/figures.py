"""Numbers of processes and lists of numbers."""
import os
import statistics
import time


def percentile(values, share):
    """The smallest value that so many are not above."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * share // 100) - 1)]


def spread(values):
    return {"p50": statistics.median(values), "p99": percentile(values, 99), "min": min(values), "n": len(values)}


def cpu_ns(pid):
    """CPU time of all threads, in nanoseconds; 0 when it has gone."""
    total = 0
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/schedstat", encoding="ascii") as f:
                total += int(f.read().split()[0])
    except (FileNotFoundError, ProcessLookupError):
        pass
    return total


def status_kib(pid, name):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f if line.startswith(name + ":"))


def pss_kib(pid):
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("Pss:"))


def cpu_shares(pids, seconds):
    """Percent of a core that each process takes while nobody asks anything of it."""
    before = {pid: cpu_ns(pid) for pid in pids}
    began = time.monotonic_ns()
    time.sleep(seconds)
    passed = time.monotonic_ns() - began
    return {pid: 100 * (cpu_ns(pid) - before[pid]) / passed for pid in pids}


def machine_load():
    """Percent of the machine's time that was not idle, and that was stolen, since it started: two of these make a figure."""
    with open("/proc/stat", encoding="ascii") as f:
        v = [int(x) for x in f.readline().split()[1:9]]
    return sum(v), v[3] + v[4], v[7]
