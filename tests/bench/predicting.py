"""Predictions per second of serve on one core, one row of JSON at a time, beside a bare HTTP echo of the same bytes."""
import json
import os
import re
import signal
import subprocess
import urllib.request

from figures import cpu_ns
from installation import PROGRAMS, WORK, Bus, Installation, fail, make_rows

FEATURES = 28
CONNECTIONS = (1, 32)
READERS = ("console", "monitor")  # of each prediction: on two cores they would take wrk's, and its waits be told as serve's
PIPELINE = """apiVersion: relearn/v1
kind: Pipeline
name: wide
dataset: {name: wide, label: label}
task: binary
train: {params: {max_depth: 6, eta: 0.1, rounds: 100}}
gate: {min_rows: 1, rules: [{metric: auc, at_least: 0, severity: observe}]}
"""
SCRIPT = """wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
local file = io.open("%s", "r")
wrk.body = file:read("*a")
local bad = 0
done = function(summary, latency, requests)
  io.write(string.format("RESULT %%d %%d %%d %%d %%d %%d\\n", summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99), latency.max, summary.errors.status + summary.errors.connect
    + summary.errors.read + summary.errors.write + summary.errors.timeout))
end
"""


def pin(pid, cpus):
    subprocess.run(["taskset", "-acp", cpus, str(pid)], check=True, capture_output=True)


def post(url, body):
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.read()


def load(url, body, connections, seconds, pid):
    """wrk on the second core."""
    folder = WORK / "wrk"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "body.json").write_bytes(body)
    (folder / "post.lua").write_text(SCRIPT % (folder / "body.json"))
    before = cpu_ns(pid)
    said = subprocess.run(["taskset", "-c", "1", "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", folder / "post.lua", url],
                          capture_output=True, text=True, check=True).stdout
    found = re.search(r"RESULT (\d+) (\d+) (\d+) (\d+) (\d+) (\d+)", said)
    if not found:
        fail(f"wrk: {said}")
    requests, us, p50, p99, worst, errors = (int(x) for x in found.groups())
    return {"connections": connections, "per_s": requests / us * 1e6, "p50_us": p50, "p99_us": p99, "max_us": worst, "errors": errors,
            "cpu_us": (cpu_ns(pid) - before) / 1000 / max(1, requests)}


def held(installation, sign):
    for i in installation.instances:
        if i["agent"] in READERS:
            os.kill(i["pid"], sign)


def echo(answer, body, seconds):
    (WORK / "answer.json").write_bytes(answer)
    child = subprocess.Popen(["taskset", "-c", "0", PROGRAMS / "echo", WORK / "answer.json"], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, text=True)
    url = f"http://127.0.0.1:{int(child.stdout.readline())}/"
    rows = [load(url, body, n, seconds, child.pid) for n in CONNECTIONS]
    child.stdin.close()
    child.wait()
    return rows


def measure(brokers, quick, say):
    seconds = 2 if quick else 10
    with Installation(brokers) as installation:
        installation.apply(PIPELINE)
        bus = Bus(installation)
        ident, _ = bus.publish("wide", make_rows(WORK / "rows-wide.csv", 10000, 1))
        bus.follow(ident, 60)
        bus.close()
        for i in installation.instances:
            pin(i["pid"], "0" if i["agent"] == "serve" else f"1-{os.cpu_count() - 1}")
        url = f"{installation.url('serve')}/v2/models/wide/infer"
        body = json.dumps({"inputs": [{"name": "rows", "shape": [1, FEATURES], "datatype": "FP32",
                                       "data": [round(0.1 * i - 1.2, 6) for i in range(FEATURES)]}]}).encode()
        answer = post(url, body)
        held(installation, signal.SIGSTOP)
        try:
            load(url, body, CONNECTIONS[-1], 1, installation.pid("serve"))
            rows = [load(url, body, n, seconds, installation.pid("serve")) for n in CONNECTIONS]
        finally:
            held(installation, signal.SIGCONT)
    floor = echo(answer, body, seconds)
    for ours, bare in zip(rows, floor):
        say(f"{ours['connections']} connections: serve {ours['per_s']:.0f}/s p50 {ours['p50_us']} p99 {ours['p99_us']} us, "
            f"{ours['cpu_us']:.1f} us CPU; echo {bare['per_s']:.0f}/s, {bare['cpu_us']:.1f} us CPU")
    return {"request_bytes": len(body), "answer_bytes": len(answer), "serve": rows, "echo": floor}
