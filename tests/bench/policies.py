#!/usr/bin/env python3
"""The electricity stream under several policies of the gate: what each decides, and the accuracy in service of each.

  tests/bench/policies.py [POLICY...]     default, strict, ratchet, none; prints rows of a Markdown table

`relearn replay` predicts each row with the model in service before its label is known. The pipeline is the one that replay makes for these data
(agents/relearn/replay_setup.c); the policies differ from it by their gate alone.
"""
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(os.environ.get("RELEARN_BIN") or ROOT / os.environ.get("BUILD", "build") / "bin")
ELEC = ROOT.parent / "shared/data/elec.csv"
TIMEOUT_S = 900
PIPELINE = """apiVersion: relearn/v1
kind: Pipeline
name: elec
dataset: {name: elec, label: class}
task: binary
split: {by: order, valid: 0, test: 0.1}
train: {window: {snapshots: 8}, params: {max_depth: 4, eta: 0.1, rounds: 50}}
plan:
  on: [dataset, drift]
  quiet: 0s
  cooldown: {after_promotion: 0s, after_rejection: 0s, after_failure: 0s}
  budget: {runs_per_day: 10000}
evaluate: {metrics: [logloss, accuracy]}
monitor: {window: {predictions: 1000}, drift: {metric: psi, threshold: 0.2, consecutive: 2}}
gate: GATE
"""
WITHIN = "{metric: logloss, no_worse_than: champion, by: 0.02}"
GATES = {
    "default": f"{{min_rows: 50, rules: [{WITHIN}]}}",
    "strict": "{min_rows: 50, rules: [{metric: logloss, better_than: champion, by_interval: true}]}",
    "ratchet": f"{{min_rows: 50, rules: [{WITHIN}], ratchet: {{metric: logloss, by: 0.02, generations: 10}}}}",
    "none": "{min_rows: 1, inconclusive: promote, rules: [{metric: logloss, at_least: 0, severity: observe}]}",
}


def replay(policy):
    with tempfile.TemporaryDirectory(prefix="relearn-policies-") as folder:
        path = Path(folder) / f"{policy}.yaml"
        path.write_text(PIPELINE.replace("GATE", GATES[policy]))
        command = [BIN / "relearn", "replay", ELEC, "--label", "class", "--json", "--pipeline", path]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
    if done.returncode:
        raise SystemExit(f"{policy}: exit code {done.returncode}: {done.stderr[-800:]}")
    return json.loads(done.stdout)


def main():
    for policy in sys.argv[1:] or GATES:
        r = replay(policy)
        accuracy, logloss = r["accuracy"]["loop"], r["logloss"]["loop"]
        print(f"| {policy} | {r['runs']} | {r['promoted']} | {r['rejected']} | {accuracy:.4f} | {logloss:.4f} |", flush=True)


if __name__ == "__main__":
    main()
