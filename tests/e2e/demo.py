#!/usr/bin/env python3
"""`relearn demo` finds both planted changes, loses nothing, and says so by its exit code."""
# time-limit: 240
# buses: embedded
import os
import subprocess
import sys

from relearn_e2e import BIN, run


def the_demo_ends_well():
    env = {k: v for k, v in os.environ.items() if not k.startswith("RELEARN_") or k == "RELEARN_LIBEXEC"}
    p = subprocess.run([BIN / "relearn", "demo"], env=env, capture_output=True, text=True, timeout=220)
    assert p.returncode == 0, f"exit code {p.returncode}: {p.stdout[-3000:]}{p.stderr[-1000:]}"
    for words in ("never retrained", "same as the last label", "p50 by hop", "lost 0, repeated 0", "where to look next"):
        assert words in p.stdout, f"no word of '{words}' in what it prints:\n{p.stdout[-3000:]}"
    assert p.stdout.count(": met") == 2, p.stdout[-1000:]


if __name__ == "__main__":
    sys.exit(run([the_demo_ends_well]))
