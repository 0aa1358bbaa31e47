#!/usr/bin/env python3
"""A new agent by `scripts/new-agent`, in a copy of this tree: it compiles, its test passes, it has help, its format and layers
are in order, and it runs beside the others.
"""
# buses: embedded
# time-limit: 300
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from relearn_e2e import ROOT, Installation, pipeline, rows_of, run, wait, write_csv

NAME = "auditor"
it = tree = None


def do(*words, code=0):
    """In the copy, apart from the make that may have started this."""
    env = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "BUILD") and not k.startswith("RELEARN_")}
    p = subprocess.run(words, cwd=tree, env=env, capture_output=True, text=True, timeout=280)
    assert p.returncode == code, f"{' '.join(words)}: exit code {p.returncode}: {p.stdout}{p.stderr}"
    return p.stdout + p.stderr


def copy_of_the_tree(folder):
    """What git knows of and what is built of it, times included, so that only what is new gets compiled."""
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.split(b"\0")
    for name in filter(None, (n.decode() for n in names)):
        if (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    for part in ("plain", "bin"):
        shutil.copytree(ROOT / "build" / part, folder / "build" / part, symlinks=True)
    subprocess.run(["git", "init", "-q", folder], check=True)


def it_is_written_and_compiles():
    assert f"agents/{NAME} is there" in do("scripts/new-agent", NAME)
    do("make")
    assert (tree / f"build/bin/relearn-{NAME}").exists()


def its_test_passes():
    assert re.search(r"^[1-9][0-9]* passed, 0 failed$", do("make", "check", f"T=unit/test_{NAME}"), re.M)


def it_is_in_order():
    do("scripts/layers")
    sources = [str(p.relative_to(tree)) for p in (tree / "agents" / NAME).glob("*.[ch]")] + [f"tests/unit/test_{NAME}_rule.c"]
    do("clang-format", "--dry-run", "-Werror", *sources)
    do("make", "docs")
    assert "| `--share`" in (tree / "agents" / NAME / "README.md").read_text()


def it_explains_itself():
    text = do(f"build/bin/relearn-{NAME}", "--help")
    assert f"relearn-{NAME}" in text and "--brokers" in text and "example" in text.lower(), text
    assert "share" in do(f"build/bin/relearn-{NAME}", "--print-config")


def it_runs_beside_the_others():
    it.programs = tree / "build/bin"
    _, url = it.start_extra(NAME, f"{NAME}-1")
    it.apply(pipeline("line"))
    event = it.publish("line", write_csv(it.data / "rows.csv", rows_of(400, 1)))
    assert it.end_of("line", it.snapshot("line", event)["id"])["outcome"] == "promoted"
    wait(lambda: it.http.get(f"{url}/healthz", timeout=5).ok and "relearn_" in it.http.get(f"{url}/metrics", timeout=5).text, "it is well")


def it_is_not_written_over():
    assert "is there already" in do("scripts/new-agent", NAME, code=1)
    for wrong in ("", "Auditor", "an-agent"):
        assert "usage" in do("scripts/new-agent", wrong, code=2)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="relearn-new-agent-") as folder:
        tree = Path(folder)
        copy_of_the_tree(tree)
        with Installation("new") as it:
            sys.exit(run([
                it_is_written_and_compiles,
                its_test_passes,
                it_is_in_order,
                it_explains_itself,
                it_runs_beside_the_others,
                it_is_not_written_over,
            ], it))
