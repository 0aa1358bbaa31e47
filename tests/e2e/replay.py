#!/usr/bin/env python3
"""`relearn replay`: the public stream with natural drift, whole; a stream of three classes with text and holes, and one of numbers.
On the embedded bus, and on Kafka when RELEARN_TEST_BROKERS is set. The stream's file lies beside the repository; without it
that case is skipped.
"""
# time-limit: 400
import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

from relearn_e2e import BIN, KAFKA, ROOT, Skip, rows_of, run, write_csv

ELEC = Path(os.environ.get("RELEARN_TEST_ELEC") or ROOT.parent / "shared/data/elec.csv")
KEYS = {
    "rows", "batch", "scored", "accuracy", "logloss", "generations", "runs", "promoted", "rejected", "drift_alerts", "requests",
    "failed_requests", "lost", "repeated", "event_to_service_ms", "hops_ms", "seconds",
}
GENERATION = {
    "generation", "cause", "run", "trained_rows", "candidate", "champion", "decision", "reason", "in_service_from_row",
}


def replay(path, *words, seconds=380):
    """What it says on standard output, which is one JSON object and nothing else."""
    bus = ["--bus", KAFKA, "--prefix", f"replay-{random.SystemRandom().randrange(16**6):06x}."] if KAFKA else []
    env = {k: v for k, v in os.environ.items() if not k.startswith("RELEARN_") or k == "RELEARN_LIBEXEC"}
    p = subprocess.run(
        [BIN / "relearn", "replay", path, "--json", *words, *bus], env=env, capture_output=True, text=True, timeout=seconds)
    assert p.returncode == 0, f"exit code {p.returncode}: {p.stdout[-500:]}{p.stderr[-1500:]}"
    found = json.loads(p.stdout)
    shown = {k: v for k, v in found.items() if k not in ("generations", "hops_ms")}
    print(f"    {json.dumps(shown)}", flush=True)
    assert found["lost"] == found["repeated"] == found["failed_requests"] == 0, shown
    assert found["requests"] == found["scored"] and found["runs"] >= found["promoted"] + found["rejected"], shown
    assert all(GENERATION <= set(g) for g in found["generations"]), found["generations"][:1]
    for name, hop in found["hops_ms"].items():
        assert hop["p50"] is not None and 0 <= hop["p50"] <= hop["p99"] <= hop["max"], (name, hop)
    return found


def the_stream_with_natural_drift_whole():
    if not ELEC.exists():
        raise Skip("no elec.csv beside the repository")
    found = replay(ELEC, "--label", "class")
    assert set(found) == KEYS, set(found) ^ KEYS
    assert found["rows"] == 45312 and found["batch"] == 1000 and found["scored"] == 44312, found["scored"]
    assert found["accuracy"]["loop"] >= 0.756, found["accuracy"]
    assert 0.58 <= found["accuracy"]["never_retrained"] <= 0.63, found["accuracy"]
    assert abs(found["accuracy"]["no_change"] - 0.853) < 0.002, "that of the stream itself"
    assert found["logloss"]["loop"] < found["logloss"]["never_retrained"]
    assert found["promoted"] > 20 and found["runs"] >= 46, found["runs"]
    served = [g for g in found["generations"] if g["in_service_from_row"] is not None]
    rows = [g["in_service_from_row"] for g in served]
    assert rows == sorted(rows) and served[0]["generation"] == 1 and rows[0] >= 1000, rows
    assert all(g["decision"] and g["reason"] and g["cause"] for g in found["generations"])


def a_stream_of_classes_with_text_and_holes(folder):
    rng = random.Random(3)
    rows = rows_of(1500, 70, "multiclass")
    for i, r in enumerate(rows):
        turned = i >= 750  # the world turns: the colours change places
        r["place"] = rng.choice(["north, far", 'the "south"', "east"])
        r["y"] = {"red": "blue", "blue": "red"}.get(r["y"], r["y"]) if turned else r["y"]
        if rng.random() < 0.05:
            r["x2"] = None
    quoted = [r | {"place": '"' + r["place"].replace('"', '""') + '"'} for r in rows]
    found = replay(write_csv(folder / "colours.csv", quoted, ["place", "x1", "x2", "x3", "y"]), "--label", "y", "--batch", "150")
    assert found["scored"] == 1350 and found["accuracy"]["loop"] > found["accuracy"]["never_retrained"] + 0.05, found["accuracy"]


def a_stream_of_numbers(folder):
    rows = rows_of(1200, 71, "regression")
    for r in rows[600:]:
        r["y"] = round(r["y"] + 2, 6)
    found = replay(write_csv(folder / "numbers.csv", rows), "--label", "y", "--batch", "150")
    assert "accuracy" not in found and {"mae", "rmse"} <= set(found), set(found)
    assert found["mae"]["loop"] < 0.8 * found["mae"]["never_retrained"], found["mae"]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        def in_folder(case):
            def call():
                case(Path(name))
            call.__name__ = case.__name__
            return call

        sys.exit(run([
            the_stream_with_natural_drift_whole,
            in_folder(a_stream_of_classes_with_text_and_holes),
            in_folder(a_stream_of_numbers),
        ]))
