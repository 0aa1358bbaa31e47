"""Runs: a view of a million, filtered, sorted and paged."""
import json
import subprocess

from figures import spread
from installation import BUILD, WORK

RUNS, ROUNDS = 1000000, 50


def measure(brokers, quick, say):
    count = RUNS // 10 if quick else RUNS
    for path in WORK.glob("runs-*.db*"):
        path.unlink()
    out = subprocess.run([BUILD / "plain" / "tests" / "bench" / "runs", WORK, str(count), str(ROUNDS)], check=True, capture_output=True, text=True)
    first, *rest = [json.loads(line) for line in out.stdout.splitlines()]
    result = {"runs": count, **first, "questions": [q | {"ms": spread(q["ms"])} for q in rest]}
    for path in WORK.glob("runs-*.db*"):
        path.unlink()
    worst = max(q["ms"]["p99"] for q in result["questions"])
    say(f"{count:,} runs filled in {first['filled_s']:.0f} s, a page in {worst:.1f} ms at worst")
    return result
