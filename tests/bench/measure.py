"""Measures one installation after the other and leaves the figures in build/bench/<bus>.json.

measure.py [--quick] [--only PART,...] BUS      BUS: embedded, or kafka (RELEARN_TEST_BROKERS says where)
"""
import argparse
import json
import os
import sys
import time

import predicting
import reading
import recovery
import replaying
import resting
import runs
import service
from figures import machine_load
from installation import BUILD, WORK

PARTS = {"service": service, "resting": resting, "replaying": replaying, "predicting": predicting, "reading": reading, "recovery": recovery,
         "runs": runs}
EMBEDDED_ALONE = {"predicting", "reading", "runs"}  # what they measure has no bus in it


def main():
    options = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    options.add_argument("--quick", action="store_true", help="a tenth of the rounds: to see that it works")
    options.add_argument("--only", help="parts, with commas: " + " ".join(PARTS))
    options.add_argument("bus", choices=["embedded", "kafka"])
    given = options.parse_args()
    brokers = os.environ["RELEARN_TEST_BROKERS"] if given.bus == "kafka" else None
    path = BUILD / "bench" / f"{given.bus}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    WORK.mkdir(parents=True, exist_ok=True)
    result = json.loads(path.read_text()) if path.exists() else {}
    for name, part in PARTS.items():
        if (given.only and name not in given.only.split(",")) or (given.bus == "kafka" and name in EMBEDDED_ALONE):
            continue
        before = machine_load()
        began = time.monotonic()
        figures = part.measure(brokers, given.quick, lambda text, n=name: print(f"{given.bus} {n}: {text}", file=sys.stderr, flush=True))
        after = machine_load()
        total = max(1, after[0] - before[0])
        result[name] = {"figures": figures, "quick": given.quick, "took_s": time.monotonic() - began,
                        "when": time.strftime("%Y-%m-%d %H:%M", time.gmtime()), "load": os.getloadavg()[0],
                        "stolen_percent": 100 * (after[2] - before[2]) / total}
        path.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
