#!/usr/bin/env python3
"""What was tried, over a real installation: runs by filter, order and page. On the embedded bus, and on Kafka when RELEARN_TEST_BROKERS is set.
"""
# time-limit: 300
import json
import sys

from relearn_e2e import Installation, mislabel, pipeline, rows_of, run, wait, write_csv

it = None  # the installation
LINE = "track"


def ask(*words, code=0):
    """A command with --json: its document; or with another exit code what it says."""
    p = it.command(*words, *(["--json"] if code == 0 else []), check=False)
    assert p.returncode == code, f"{words}: exit code {p.returncode}: {p.stdout[-500:]}{p.stderr[-500:]}"
    return json.loads(p.stdout) if code == 0 else p.stdout + p.stderr


def learn(seed, n=400, bad=False):
    rows = mislabel(rows_of(n, seed), seed) if bad else rows_of(n, seed)
    it.learn(LINE, LINE, write_csv(it.data / f"{seed}.csv", rows))


def four_runs_are_made():
    it.apply(pipeline(LINE, deploy={"strategy": "replace"}))
    learn(1)
    learn(2, bad=True)
    it.apply(pipeline(LINE, deploy={"strategy": "replace"}, train={"params": {"max_depth": 5, "eta": 0.1, "rounds": 20}}))
    learn(3)
    it.command("retrain", LINE, "--reason", "again")
    wait(lambda: len(ask("runs")) == 4 and all(r["state"] in ("promoted", "rejected") for r in ask("runs")), "four runs at their end")


def plain(runs):
    """Without the cursors, which go with their question."""
    return [{k: v for k, v in r.items() if k != "cursor"} for r in runs]


# ---- runs --------------------------------------------------------------------------------------------------------------


def runs_are_filtered_sorted_and_paged():
    runs = plain(ask("runs"))
    assert plain(ask("runs", "trigger = command")) == [r for r in runs if r["trigger"] == "command"]
    losses = sorted(r["metrics"]["logloss"]["candidate"] for r in runs)
    assert [r["metrics"]["logloss"]["candidate"] for r in ask("runs", "--sort", "metric.logloss")] == losses
    assert len(ask("runs", f"metric.logloss <= {losses[0]!r}")) == sum(v == losses[0] for v in losses)
    deep = ask("runs", "param.max_depth = 5 and started > 1d ago and not generation = none")
    assert [r["run"] for r in deep] == [r["run"] for r in runs if r["run"] in {d["run"] for d in deep}] and deep
    assert plain(ask("runs", f"model = {deep[0]['model'][:12]}")) == [r for r in runs if r.get("model") == deep[0]["model"]]
    pages, cursor = [], []
    while page := ask("runs", "--limit", "3", "--sort", "rows", *cursor):
        pages += [r["run"] for r in page]
        cursor = ["--cursor", page[-1]["cursor"]]
    assert pages == [r["run"] for r in ask("runs", "--sort", "rows")] and len(pages) == 4
    assert "--cursor" in it.command("runs", "--limit", "3").stdout


def a_wrong_filter_is_pointed_at():
    said = ask("runs", "metric.auc > high", code=1)
    assert "column 14: expected a number, found 'high'; for example: metric.auc > 0.8" in said, said
    assert "column 1: expected a field" in ask("runs", "--sort", "speed", code=1)
    assert "given twice" in ask("runs", "rows > 1", "--filter", "rows > 1", code=2)


def runs_are_the_same_when_the_view_is_lost():
    questions = [["runs"], ["runs", "metric.logloss > 0", "--sort", "metric.logloss:desc"], ["runs", "generation != none", "--sort", "finished"]]
    before = [plain(ask(*q)) for q in questions]
    it.lose_state("console-1")
    it.await_ready("console-1")
    assert [plain(ask(*q)) for q in questions] == before


CASES = [
    four_runs_are_made,
    runs_are_filtered_sorted_and_paged,
    a_wrong_filter_is_pointed_at,
    runs_are_the_same_when_the_view_is_lost,
]


def main():
    global it
    with Installation("tracking") as it:
        return run(CASES, it)


if __name__ == "__main__":
    sys.exit(main())
