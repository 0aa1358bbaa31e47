#!/usr/bin/env python3
"""What was tried, over a real installation: runs by filter, order and page; runs beside each other; a metric over time; model
cards. Pages and drawings are parsed as a browser would: well formed, every text escaped, nothing from outside. On the embedded bus, and on Kafka when RELEARN_TEST_BROKERS is set.
"""
# time-limit: 300
import html.parser
import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree

from relearn_e2e import BIN, Installation, mislabel, pipeline, rows_of, run, wait, write_csv

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


def at_rest():
    return it.state(LINE)["state"] == "at rest" and all(r["state"] in ("promoted", "rejected", "rolled_back", "superseded") for r in ask("runs"))


def four_runs_are_made():
    it.apply(pipeline(LINE, deploy={"strategy": "replace"}))
    learn(1)
    learn(2, bad=True)
    it.apply(pipeline(LINE, deploy={"strategy": "replace"}, train={"params": {"max_depth": 5, "eta": 0.1, "rounds": 20}}))
    learn(3)
    it.command("retrain", LINE, "--reason", "again")
    wait(lambda: len(ask("runs")) == 4 and at_rest(), "four runs at their end")


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


# ---- compare -----------------------------------------------------------------------------------------------------------


def by_time():
    return [r["run"] for r in ask("runs", "--sort", "started")]


def rows(document, section):
    return {r["name"]: r for s in document["sections"] if s["section"] == section for r in s["rows"]}


def runs_are_compared_by_what_differs():
    first, worse, deeper, _ = by_time()
    said = ask("compare", first, deeper)
    params = rows(said, "parameters")
    assert params["max_depth"]["values"] == [3, 5] and params["max_depth"]["differs"], params
    assert params["trainer"] == {"name": "trainer", "values": ["xgboost", "xgboost"], "differs": False}, params
    assert rows(said, "data")["rows to learn from"]["values"][0] > 0
    assert rows(said, "cost")["seconds of training"]["values"][0] > 0
    values = rows(said, "metrics")["logloss"]["values"]
    assert values[0]["champion"] is None and values[1]["champion"] > 0 and values[1]["low"] <= values[1]["difference"] <= values[1]["high"], values
    best = rows(said, "metrics")["logloss"]["best"]
    assert values[best]["candidate"] == min(v["candidate"] for v in values)
    distance = next(s["rows"] for s in said["sections"] if s["section"].startswith("distance"))
    near = {r["name"]: r["values"][1] for r in distance}
    assert set(near) >= {"x1", "x2", "x3"} and all(0 <= v < 0.3 for v in near.values()), near
    assert any("importance" in u for u in said["unknown"])
    text = it.command("compare", first[:10], worse[:10], deeper[:10]).stdout
    assert re.search(r"^  max_depth +3 +3 +5$", text, re.M) and "trainer" not in text and "more rows (--all)" in text, text
    assert "  trainer" in it.command("compare", first, deeper, "--all").stdout
    assert rows(ask("compare", first, first), "parameters")["max_depth"]["differs"] is False


def what_cannot_be_compared_is_said():
    first = by_time()[0]
    assert "no run or model begins with ffff" in ask("compare", first, "ffff", code=1)
    assert "is no id" in ask("compare", first, "a b", code=1)
    assert "usage: relearn compare" in ask("compare", first, code=2)


class Page(html.parser.HTMLParser):
    """Tags that close as they open, and what would be asked from outside."""

    VOID = {"meta", "circle", "line", "rect"}

    def __init__(self, text):
        super().__init__()
        self.open, self.outside, self.texts, self.tags = [], [], [], []
        self.feed(text)
        assert not self.open, self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.outside += [(k, v) for k, v in attrs if k in ("src", "href", "action", "data", "srcset") or "url(" in (v or "")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, tag

    def handle_data(self, data):
        self.texts.append(data)


def a_page_stands_alone():
    path = it.data / "compared.html"
    it.command("compare", *by_time(), "--html", path)
    page = Page(path.read_text())
    assert not page.outside and not {"script", "link", "img", "iframe", "object"} & set(page.tags), page.outside
    assert {"table", "svg", "circle"} <= set(page.tags)
    assert "default-src 'none'" in path.read_text()
    assert all(any(r in t for t in page.texts) for r in by_time())
    assert any("max_depth" in t for t in page.texts) and any("importance" in t for t in page.texts)


# ---- trend -------------------------------------------------------------------------------------------------------------


def a_metric_is_drawn_over_time_with_what_happened():
    it.command("rollback", LINE, "--reason", "looks <wrong> & \"odd\"")
    it.command("alert", LINE, "--summary", "prices <b>moved</b>", check=False)
    said = wait(lambda: (t := ask("trend", LINE, "logloss"))["marks"] and "drift" in {m["kind"] for m in t["marks"]} and t, "the drift on the axis")
    wait(at_rest, lambda: ask("runs"))  # what the alert led to
    said = ask("trend", LINE, "logloss")
    kinds = [m["kind"] for m in said["marks"]]
    assert kinds.count("data") == 3 and kinds.count("rollback") == 1 and "promotion" in kinds, kinds
    runs = {r["run"]: r["metrics"]["logloss"]["candidate"] for r in ask("runs") if r["metrics"]}
    assert {e["run"]: e["value"] for e in said["evaluations"]} == runs
    text = it.command("trend", LINE, "logloss").stdout
    assert "\033" not in text and all(len(line) <= 80 for line in text.splitlines()), text
    assert re.search(r"^ *rolled back\| *R$", text, re.M) and "promoted|" in text and "rollback: " in text and "o" in text, text
    clean = {k: v for k, v in os.environ.items() if not k.startswith("RELEARN_DATA")} | {"COLUMNS": "50"}
    narrow = subprocess.run([BIN / "relearn", "trend", LINE, "logloss", "--data", it.data], env=clean, capture_output=True, text=True, check=True).stdout
    assert all(len(line) <= 50 for line in narrow.splitlines()[1:]) and narrow != text, narrow
    assert "nothing was measured yet" in it.command("trend", LINE, "unheard").stdout
    assert "no line nobody" in ask("trend", "nobody", "logloss", code=1)


def a_trend_is_written_as_svg():
    path = it.data / "trend.svg"
    it.command("trend", LINE, "logloss", "--svg", path)
    root = xml.etree.ElementTree.parse(path).getroot()
    space = {"s": "http://www.w3.org/2000/svg"}
    assert len(root.findall("s:circle", space)) >= 8
    assert any("looks <wrong> & \"odd\"" in (t.text or "") for t in root.iter("{http://www.w3.org/2000/svg}title")), path.read_text()
    assert "href" not in path.read_text() and "<b>" not in path.read_text()


# ---- cards -------------------------------------------------------------------------------------------------------------


def every_model_has_a_card_of_facts():
    for model in ask("models"):
        card = ask("card", model["model"])
        assert card["model"] == model["model"] and card["line"] == LINE
        assert {p["name"] for p in card["parameters"]} >= {"max_depth", "eta"}
        assert card["splits"]["test_rows"] == 100 and card["splits"]["evaluated_rows"] > 0, card["splits"]
        assert [d["dataset"] for d in card["data"]] == [LINE] and card["metrics"] and card["decision"]["rules"], card
        assert [g["generation"] for g in card["served"]] == [g["generation"] for g in ask("history", LINE) if g["model"] == model["model"]]
        assert any("no slices were evaluated" in u for u in card["unknown"])
        text = it.command("card", model["model"][:12]).stdout
        assert text.startswith(f"# Model {model['model']}\n")
        for title in ("What it is", "Parameters", "Splits", "Metrics", "Decision", "Generations in which it served", "Cost", "Not known"):
            assert f"\n## {title}\n" in text, title
    first = ask("card", by_time()[0])
    assert any("no champion to compare with" in u for u in first["unknown"]) and first["served"], first
    assert "no run or model begins with" in ask("card", "eeeeeeeeeeee", code=1)


CASES = [
    four_runs_are_made,
    runs_are_filtered_sorted_and_paged,
    a_wrong_filter_is_pointed_at,
    runs_are_the_same_when_the_view_is_lost,
    runs_are_compared_by_what_differs,
    what_cannot_be_compared_is_said,
    a_page_stands_alone,
    a_metric_is_drawn_over_time_with_what_happened,
    a_trend_is_written_as_svg,
    every_model_has_a_card_of_facts,
]


def main():
    global it
    with Installation("tracking") as it:
        return run(CASES, it)


if __name__ == "__main__":
    sys.exit(main())
