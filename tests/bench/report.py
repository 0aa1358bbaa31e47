"""Tables out of build/bench/*.json: printed, and put between the marks of tests/bench/README.md.

report.py [--print]     --print: leave the README alone
"""
import json
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
BUILD = HERE.parents[1] / os.environ.get("BUILD", "build")
BUSES = ("embedded", "kafka")
HOPS = {"snapshots": "dataset → snapshot", "plans": "snapshot → plan", "models": "plan → model", "evaluations": "model → evaluation",
        "decisions": "evaluation → decision", "deployments": "decision → deployment", "serving": "deployment → in service"}
OVERHEAD_GOAL_MS = {"kafka": 15, "embedded": 50}
LARGE_ROWS, LARGE_RATIO = 100000, 1.1
MEMORY_GOAL_MIB, MEMORY_GOAL_XGBOOST_MIB = 24, 48
WITH_XGBOOST = {"evaluate", "serve"}
CPU_GOAL_PERCENT = {"kafka": 3, "embedded": 12}
INGEST_GOAL_MB_S, INGEST_GOAL_MIB = 250, 128
RECOVERY_EVENTS, RECOVERY_GOAL_S = 100000, 2
RUNS_GOAL_MS = 10
REPLAY_GOAL = {"seconds": 90, "accuracy": 0.756}


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(str(c) for c in row) + " |" for row in rows]) + "\n"


def met(value, goal, unit="", less=True):
    return f"{goal:g}{unit}: {'met' if (value <= goal if less else value >= goal) else '**missed**'}"


def name_of(bus):
    return {"embedded": "embedded bus", "kafka": "Kafka"}[bus]


def service(found):
    rows, hops = [], []
    for bus, sizes in found.items():
        for s in sizes:
            goal = met(s["overhead_ms"]["p50"], OVERHEAD_GOAL_MS[bus], " ms p50")
            if s["rows"] == LARGE_ROWS:
                goal += ", " + met(s["ratio"]["p50"], LARGE_RATIO, " times")
            rows.append([name_of(bus), f"{s['rows']:,}", s["rounds"], f"{s['loop_ms']['p50']:.1f}", f"{s['bare_ms']['p50']:.1f}",
                         f"{s['overhead_ms']['p50']:.1f} / {s['overhead_ms']['p99']:.1f}", f"{s['ratio']['p50']:.2f}", goal])
    head = ["bus", "rows × 28", "loops", "event to service, ms", "bare calls, ms", "overhead p50 / p99, ms", "times bare", "goal"]
    text = "### Event to service\n\n" + table(head, rows)
    columns = [(bus, s) for bus, sizes in found.items() for s in sizes]
    for topic, words in HOPS.items():
        hops.append([words, *[f"{s['hops'][topic]['p50']:.1f} / {s['hops'][topic]['p99']:.1f}" for _, s in columns]])
    text += "\nOverhead by hop, p50 / p99 in ms (the bare call that the hop contains is taken off, so a hop can be below zero):\n\n"
    return text + table(["hop", *[f"{name_of(bus)}, {s['rows']:,}" for bus, s in columns]], hops)


def resting(found):
    agents = list(dict.fromkeys(agent for f in found.values() for agent in f["agents"]))
    rows = []
    for agent in agents:
        goal = None if agent == "broker" else MEMORY_GOAL_XGBOOST_MIB if agent in WITH_XGBOOST else MEMORY_GOAL_MIB
        cells = [f["agents"].get(agent) for f in found.values()]
        worst = max(c["rss_mib"] for c in cells if c)
        row = [agent, *[f"{c['rss_mib']:.1f} ({c['pss_mib']:.1f})" if c else "" for c in cells], met(worst, goal, " MiB") if goal else ""]
        row += [f"{c['ready_ms']:.0f}" if c and c["ready_ms"] is not None else "" for c in cells]
        rows.append(row + [f"{c['cpu_percent']:.2f}" if c else "" for c in cells])
    names = [name_of(bus) for bus in found]
    head = ["process", *[f"resident (proportional), MiB: {n}" for n in names], "goal", *[f"start to ready, ms: {n}" for n in names],
            *[f"CPU, %: {n}" for n in names]]
    last = ["all", *["" for _ in found], "", *[f"{f['up_ms']['p50']:.0f}" for f in found.values()],
            *[f"{f['cpu_percent']:.2f} ({met(f['cpu_percent'], CPU_GOAL_PERCENT[bus], ' %')})" for bus, f in found.items()]]
    return "### At rest\n\n" + table(head, [*rows, last]) + "\nThe last line's start is `relearn up` as a whole, bus and topics included.\n"


def predicting(found):
    f = found["embedded"]
    rows = []
    for ours, bare in zip(f["serve"], f["echo"]):
        for who, x in (("serve", ours), ("libmicrohttpd echo", bare)):
            rows.append([x["connections"], who, f"{x['per_s']:,.0f}", f"{x['p50_us']:.0f} / {x['p99_us']:.0f}", f"{x['cpu_us']:.1f}", x["errors"]])
    head = ["connections", "who", "requests/s on one core", "p50 / p99, µs", "CPU a request, µs", "failed"]
    return (f"### Predictions\n\nOne row of 28 features as JSON ({f['request_bytes']} bytes; the answer has {f['answer_bytes']}), 100 trees of "
            "depth 6; serve with all of its threads on one core, wrk on the other.\n\n" + table(head, rows))


def reading(found):
    f = found["embedded"]
    rows = [[f"{f['bytes'] / 1e6:,.0f} MB × 29 columns", f"{f['seconds']:.2f}", f"{f['mb_per_s']:.0f}",
             f"{f['mb_per_cpu_s']:.0f}", f"{f['peak_mib']:.0f}", met(f["mb_per_s"], INGEST_GOAL_MB_S, " MB/s", less=False) + ", "
             + met(f["peak_mib"], INGEST_GOAL_MIB, " MiB")]]
    return ("### Ingest\n\nParsed, checked, duplicate rows found, split, profiled and frozen, on one core; from the event to the snapshot's.\n\n"
            + table(["CSV", "seconds", "MB/s", "MB a CPU second", "peak resident, MiB", "goal"], rows))


def runs(found):
    f = found["embedded"]
    rows = [[f"`{q['filter']}`" if q["filter"] else "", q["line"], q["sort"] or "newest first", f"{q['ms']['p50']:.2f} / {q['ms']['p99']:.2f}",
             met(q["ms"]["p99"], RUNS_GOAL_MS, " ms")] for q in f["questions"]]
    return (f"### Runs\n\nPages of 100 of {f['runs']:,} runs, one after the other by cursor, from the view alone. Filling it took {f['filled_s']:.0f} s, "
            f"its indexes {f['indexes_s']:.0f} s.\n\n" + table(["filter", "line", "order", "a page, p50 / worst, ms", "goal"], rows))


def replaying(found):
    rows = []
    for bus, f in found.items():
        if "accuracy" not in f:
            rows.append([name_of(bus), f"exit {f['exit']}", f"{f['seconds']:.1f}", *[""] * 6])
            continue
        a = f["accuracy"]
        rows.append([name_of(bus), f"{f['rows']:,}", f"{f['seconds']:.1f}", f"{a['loop']:.4f}", f"{a['never_retrained']:.4f}", f"{a['no_change']:.4f}",
                     f"{f['promoted']} of {f['runs']}", f"{f['lost']} / {f['repeated']} / {f['failed_requests']}",
                     met(f["seconds"], REPLAY_GOAL["seconds"], " s") + ", " + met(a["loop"], REPLAY_GOAL["accuracy"], less=False)])
    head = ["bus", "rows", "seconds", "accuracy: loop", "never retrained", "last label again", "promoted", "lost / repeated / failed", "goal"]
    return "### Replay of the electricity stream\n\n" + table(head, rows)


def recovery(found):
    rows = [[f"takeover {what}", name_of(bus), f"{x['p50'] / 1000:.1f}", f"{x['p99'] / 1000:.1f}"]
            for bus, f in found.items() for what, x in f["takeover_ms"].items()]
    text = "### After kill -9\n\n" + table(["what", "bus", "p50, s", "worst, s"], rows)
    rows = []
    for bus, f in found.items():
        for agent, x in f["agents"].items():
            of_goal = x["empty_ms"]["p50"] * RECOVERY_EVENTS / x["events"]
            rows.append([agent, name_of(bus), f"{x['events']:,}", f"{x['empty_ms']['p50']:.0f}", f"{x['cpu_ms']['p50']:.0f}",
                         f"{x['cached_ms']['p50']:.0f}", f"{of_goal / 1000:.1f}", met(of_goal / 1000, RECOVERY_GOAL_S, " s")])
    head = ["agent", "bus", "events in its tables", "empty folder to ready, ms", "of it CPU, ms", "with its cache, ms",
            "empty, for 100,000 events, s", "goal"]
    return text + "\n" + table(head, rows)


SECTIONS = {"service": service, "recovery": recovery, "predicting": predicting, "reading": reading, "runs": runs, "resting": resting, "replaying": replaying}


def first_line(*command):
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip().splitlines()[0]
    except (OSError, IndexError):
        return ""


def machine():
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    memory = int(Path("/proc/meminfo").read_text().split()[1]) / 1048576
    versions = [f"{p} {first_line('pkg-config', '--modversion', p)}" for p in
                ("rdkafka", "avro-c", "libuv", "sqlite3", "libmicrohttpd", "jansson", "libcrypto", "xgboost")]
    return (f"{os.cpu_count()} cores of {cpu.group(1) if cpu else platform.machine()}, {memory:.0f} GiB, Linux {platform.release()}; "
            f"{first_line('gcc', '--version')}; {', '.join(versions)}; Kafka {os.environ.get('KAFKA_VERSION', '4.3.1')} where it says Kafka; "
            f"relearn {first_line('git', '-C', str(HERE), 'rev-parse', '--short', 'HEAD')}.\n")


def main():
    results = {bus: json.loads((BUILD / "bench" / f"{bus}.json").read_text()) for bus in BUSES if (BUILD / "bench" / f"{bus}.json").exists()}
    text = machine() + "\n"
    for name, section in SECTIONS.items():
        found = {bus: r[name]["figures"] for bus, r in results.items() if r.get(name, {}).get("figures")}
        if found:
            when = "; ".join(f"{name_of(bus)} {r[name]['when']} UTC, load {r[name]['load']:.1f}, {r[name]['stolen_percent']:.0f} % stolen"
                             + (", **quick**" if r[name]["quick"] else "") for bus, r in results.items() if name in r)
            text += section(found) + f"\nMeasured: {when}.\n\n"
    print(text)
    if "--print" in sys.argv:
        return
    path = HERE / "README.md"
    before, _, after = re.split(r"(<!-- figures:begin -->\n.*<!-- figures:end -->)", path.read_text(), maxsplit=1, flags=re.S)
    path.write_text(f"{before}<!-- figures:begin -->\n\n{text.rstrip()}\n\n<!-- figures:end -->{after}")


if __name__ == "__main__":
    main()
