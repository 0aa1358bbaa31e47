"""`relearn replay` of a stream with real drift."""
import json
import subprocess
import time

from installation import BIN, ROOT

ELEC = ROOT.parent / "shared/data/elec.csv"
TIMEOUT_S = 600


def measure(brokers, quick, say):
    if not ELEC.exists():
        return None
    command = [BIN / "relearn", "replay", ELEC, "--label", "class", "--json"]
    if brokers:
        command += ["--bus", brokers]
    began = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
    seconds = time.monotonic() - began
    if not done.stdout.startswith("{"):
        say(f"replay: exit {done.returncode}: {done.stderr[-500:]}")
        return {"exit": done.returncode, "seconds": seconds}
    result = json.loads(done.stdout)
    result.pop("generations")
    say(f"replay {seconds:.1f} s, accuracy {result['accuracy']['loop']:.4f}")
    return {**result, "exit": done.returncode, "seconds": seconds}
