"""What torture has done: a line a point and fault, in build/torture/, and a summary for tests/README.md."""
import os
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "tests/README.md"
BUILD = ROOT / os.environ.get("BUILD", "build")


@dataclass(frozen=True)
class Row:
    """A fault of an earlier run."""
    process: str
    point: str
    kind: str
    text: str

    def __str__(self):
        return self.text


def plain(wrong):
    return (wrong or "as without").replace("\n", " ").replace("|", "/")[:120]


class Table:
    def __init__(self, bus):
        self.bus = bus
        self.rows = []  # (fault, what was wrong or None)
        self.effects, self.unmet, self.planned = {}, {}, 0
        self.failed = 0

    def expect(self, points, planned):
        """points: {process: {name: (effect, kinds)}}; planned: the faults that the story can meet."""
        self.effects = {(p, n): effect for p, names in points.items() for n, (effect, _) in names.items()}
        met = {(f.process, f.point) for f in planned}
        self.unmet = {k: e for k, e in self.effects.items() if k not in met}
        self.planned = len(planned)
        print(f"{len(self.effects)} points, {len(met)} that the story meets, {len(planned)} faults", flush=True)

    def add(self, fault, wrong):
        self.rows.append((fault, wrong))
        self.failed += bool(wrong) and wrong != "not met"

    def take_up(self):
        """The rows of the last run; returns the faults that did not end as they should."""
        again = []
        for row in (BUILD / "torture" / f"{self.bus}.md").read_text(encoding="utf-8").splitlines()[2:]:
            _, process, point, kind, found, command, _ = (c.strip() for c in row.split("|", 6))
            fault = command.strip("`").split(" ")[-1]
            if found == "as without":
                self.rows.append((Row(process, point, kind, fault), None))
            elif kind:
                again.append(fault)
        return again

    def has(self, fault):
        """Whether it has ended as it should."""
        return any((r.process, r.point, r.kind) == (fault.process, fault.point, fault.kind) for r, _ in self.rows)

    def last_line(self):
        return f"{sum(w is None for _, w in self.rows)} passed, {self.failed} failed"

    def write(self, is_summary):
        folder = BUILD / "torture"
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / f"{self.bus}.md", "w", encoding="utf-8") as f:
            f.write("| process | point | fault | found | to repeat |\n| --- | --- | --- | --- | --- |\n")
            for fault, wrong in sorted(self.rows, key=lambda r: str(r[0])):
                f.write(f"| {fault.process} | {fault.point} | {fault.kind} | {plain(wrong)} | `tests/e2e/torture.py {fault}` |\n")
            for (process, point), _ in sorted(self.unmet.items()):
                f.write(f"| {process} | {point} | | the story does not come here | |\n")
        if is_summary:
            self.summarize()

    def summary(self):
        """Runs and failures by effect and kind."""
        runs, failures, points = defaultdict(int), defaultdict(int), defaultdict(set)
        for fault, wrong in self.rows:
            effect = self.effects[(fault.process, fault.point)]
            points[effect].add((fault.process, fault.point))
            if wrong != "not met":
                runs[(effect, fault.kind)] += 1
                failures[effect] += bool(wrong)
        kinds = ["kill", "stop", "fail", "lost"]
        lines = [
            f"Torture, {self.bus} bus: {len(self.rows)} of {self.planned} faults at {len({(f.process, f.point) for f, _ in self.rows})} points of {len({f.process for f, _ in self.rows})} programs, "
            f"{self.failed} failures, {sum(w == 'not met' for _, w in self.rows)} not met.", "",
            "| effect | points | killed | stopped | failed | answer lost | failures |", "| --- | --- | --- | --- | --- | --- | --- |",
        ]
        for effect in sorted(points):
            cells = [str(runs[(effect, k)] or "") for k in kinds]
            lines.append(f"| {effect} | {len(points[effect])} | {' | '.join(cells)} | {failures[effect]} |")
        return "\n".join(lines) + "\n"

    def summarize(self):
        begin, end = f"<!-- torture-{self.bus}:begin -->", f"<!-- torture-{self.bus}:end -->"
        text = README.read_text(encoding="utf-8")
        if begin in text:
            head, _, rest = text.partition(begin)
            README.write_text(f"{head}{begin}\n{self.summary()}{end}{rest.partition(end)[2]}", encoding="utf-8")
