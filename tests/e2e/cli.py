#!/usr/bin/env python3
"""The command line: help, exit codes, --json, day-to-day commands; and the supervisor: what dies comes back, scaling, an
installation that cannot start, `make install`. On the embedded bus, and on Kafka when RELEARN_TEST_BROKERS is set.
"""
# time-limit: 300
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

from relearn_e2e import AGENTS, BIN, CLEAR, KAFKA, ROOT, Installation, alive, pipeline, rows_of, run, wait, write_csv

it = None  # the installation
DONE, REFUSED, USAGE, NOT_RUNNING = 0, 1, 2, 3
LINE = "cli"
CLOSED_PORT = "http://127.0.0.1:9"  # discard: nobody listens


def relearn(*words, data=None, program=BIN / "relearn", env=None, seconds=120):
    clean = {k: v for k, v in os.environ.items() if not k.startswith("RELEARN_")}
    words = [*map(str, words), *(["--data", str(data)] if data else [])]
    return subprocess.run([program, *words], env=clean | (env or {}), capture_output=True, text=True, timeout=seconds)


def expect(code, p, *parts):
    """The exit code, and what must be said."""
    text = p.stdout + p.stderr
    assert p.returncode == code, f"{p.args[1:]}: exit code {p.returncode}, not {code}: {text[-600:]}"
    for part in parts:
        assert part in text, f"{p.args[1:]}: says nothing of {part!r}: {text[-600:]}"
    return p


def ask(*words, code=DONE):
    """A command to the installation with --json: its one document."""
    p = expect(code, relearn(*words, "--json", data=it.data))
    return json.loads(p.stdout)


def commands():
    rows = re.findall(r"^\| `relearn (\S+)([^`]*)` \| (.+) \|$", expect(DONE, relearn("--docs")).stdout, re.M)
    assert len(rows) > 25, rows
    return [name for name, _, _ in rows]


# ---- without an installation -------------------------------------------------------------------------------------------


def help_lists_every_command():
    text = expect(DONE, relearn("help")).stdout
    for name in commands():
        assert re.search(rf"^  {name}\b", text, re.M), name
    assert relearn("--help").stdout == text
    expect(USAGE, relearn(), "usage: relearn COMMAND")
    expect(DONE, relearn("--version"), "relearn ")
    expect(DONE, relearn("--print-config", env={"RELEARN_DATA": "/somewhere"}), "data=/somewhere  # RELEARN_DATA")


def each_command_has_help_with_an_example():
    for name in [*commands(), "supervise"]:
        text = expect(DONE, relearn(name, "--help"), "Usage:", "Example:\n  relearn " + name, "--data").stdout
        assert expect(DONE, relearn("help", name)).stdout == text, name
        folder = "  # not set" if name in ("replay", "demo") else "relearn-data  # default"
        expect(DONE, relearn(name, "--print-config"), f"data={folder}")
        expect(DONE, relearn(name, "--docs"), "| `--data`")


def each_agent_has_help_with_an_example():
    for name in [*AGENTS, "broker"]:
        program = BIN / f"relearn-{name}"
        expect(DONE, relearn("--help", program=program), "Usage:", f"Example:\n  relearn-{name}")
        expect(DONE, relearn("--print-config", program=program), "log-level=info")
        expect(USAGE, relearn("--no-such-option", program=program), "no-such-option")


def wrong_usage_exits_with_2():
    expect(USAGE, relearn("nonsense"), "there is no command nonsense")
    expect(USAGE, relearn("explain"), "usage: relearn explain ID")
    expect(USAGE, relearn("publish", "only-one"), "usage: relearn publish DATASET FILE-OR-URL")
    expect(USAGE, relearn("lines", "too", "many"), "usage: relearn lines")
    expect(USAGE, relearn("runs", "--limit", "many"), "--limit")
    expect(USAGE, relearn("runs", "--limt", "3"), "--limt", "--limit")
    expect(USAGE, relearn("retrain", "p", "--wait", "soon"), "--wait")
    expect(USAGE, relearn("rollback", "p", "--to", "0"), "--to")
    expect(USAGE, relearn("scale", "train"), "give AGENT=N")
    expect(USAGE, relearn("scale", "train=many"), "give 1 to 32 instances")
    expect(USAGE, relearn("up", "--scale", "trian=2"), "there is no agent 'trian'")
    expect(USAGE, relearn("up", "--partitions", "0.5"), "--partitions")
    expect(USAGE, relearn("predict", "p", "a"), "column=value")
    expect(USAGE, relearn("replay"), "one CSV file")
    expect(USAGE, relearn("replay", "x.csv"), "--label is missing")
    expect(USAGE, relearn("demo", "--nonsense"), "--nonsense")
    expect(USAGE, relearn("topics"), "--brokers")
    expect(USAGE, relearn("verify", "--since", "yesterday"), "a duration like 24h")


CONSOLE_COMMANDS = [
    ["withdraw", "p"], ["publish", "d", "http://h/x.csv"], ["alert", "p"], ["label", "p", "x", "1"], ["retrain", "p"], ["pause", "p"],
    ["resume", "p"], ["approve", "p"], ["reject", "p"], ["force", "p"], ["rollback", "p"], ["watch"], ["pipelines"], ["lines"], ["runs"],
    ["models"], ["history", "p"], ["explain", "x"], ["deadletters"], ["resend", "all"],
]


def nothing_running_exits_with_3():
    with tempfile.TemporaryDirectory() as empty:
        for words in [*CONSOLE_COMMANDS, ["down"], ["status"], ["scale", "train=2"], ["predict", "p", "a=1"], ["verify"]]:
            expect(NOT_RUNNING, relearn(*words, data=empty), f"nothing runs in {empty}", "relearn up")
        for words in [*CONSOLE_COMMANDS, ["status"]]:
            expect(NOT_RUNNING, relearn(*words, "--console", CLOSED_PORT), "127.0.0.1:9")
        expect(NOT_RUNNING, relearn("predict", "p", "a=1", "--serve", CLOSED_PORT), "127.0.0.1:9")
        assert not os.listdir(empty), "asking leaves nothing behind"


def a_record_of_a_dead_installation_is_not_believed():
    """Its process id is somebody else's by now."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "run").mkdir()
        record = Path(folder) / "run/installation.json"
        record.write_text(json.dumps({"pid": os.getpid(), "console": CLOSED_PORT, "control": CLOSED_PORT}))
        expect(NOT_RUNNING, relearn("status", data=folder), "nothing runs in")
        assert not record.exists()


def a_replay_that_is_killed_leaves_nothing_running():
    with tempfile.TemporaryDirectory() as folder:
        path = write_csv(Path(folder) / "rows.csv", rows_of(2000, 1))
        (Path(folder) / "tmp").mkdir()
        env = {k: v for k, v in os.environ.items() if not k.startswith("RELEARN_")} | {"TMPDIR": f"{folder}/tmp"}
        p = subprocess.Popen([BIN / "relearn", "replay", path, "--label", "y", "--batch", "100"], env=env, stdout=-3, stderr=-1, text=True)
        try:
            wait(lambda: "is the first in service" in p.stderr.readline(), "a first model")
            data = next(Path(folder, "tmp").iterdir())
            supervisor = json.loads((data / "run/installation.json").read_text())["pid"]
        finally:
            p.kill()
            p.communicate()
        wait(lambda: not alive(supervisor), "the supervisor gone")
        assert not data.exists(), list(data.iterdir())


def what_replay_cannot_use_is_refused():
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.csv"
        expect(REFUSED, relearn("replay", path, "--label", "y"), "rows.csv")
        for text, part in (("", "is empty"), ("x,y\n", "no rows"), ("x,y\n1,2\n3\n", "rows.csv:3: 1 fields"), ('x,y\n1,"2\n', "rows.csv:2: a quote")):
            path.write_text(text)
            expect(REFUSED, relearn("replay", path, "--label", "y"), part)
        write_csv(path, rows_of(20, 1))
        expect(REFUSED, relearn("replay", path, "--label", "z"), "has no column z")
        expect(REFUSED, relearn("replay", path, "--label", "y", "--segment", "z"), "no column z to segment by")
        write_csv(path, [{"x": i, "y": f"name-{i}"} for i in range(60)])
        expect(REFUSED, relearn("replay", path, "--label", "y"), "y has more than 50 values")


def the_catalogue_of_topics_is_printed():
    rows = expect(DONE, relearn("topics", "--markdown")).stdout.splitlines()
    assert len(rows) == 18 and rows[2].startswith("| pipelines | pipeline |"), rows


def topics_are_created_and_compared_with_the_catalogue():
    words = ["topics", "--brokers", KAFKA, "--prefix", f"cli-topics-{os.getpid()}.", "--partitions", "2"]
    missing = json.loads(expect(REFUSED, relearn(*words, "--check", "--json")).stdout)
    assert len(missing["differs"]) == 16 and not missing["topics"], missing
    made = json.loads(expect(DONE, relearn(*words, "--json")).stdout)
    assert len(made["topics"]) == 16 and not made["differs"], made
    expect(DONE, relearn(*words), "as the catalogue says")
    expect(DONE, relearn(*words, "--check"), "as the catalogue says")
    words[-1] = "3"
    expect(REFUSED, relearn(*words, "--check"), "plans: ", "partitions")


# ---- day-to-day commands -----------------------------------------------------------------------------------------------


def csv(n, seed):
    return write_csv(it.data / f"rows-{seed}.csv", rows_of(n, seed))


def what_goes_in_is_answered():
    path = it.data / "pipeline.yaml"
    path.write_text(yaml.safe_dump(pipeline(LINE, deploy={"strategy": "replace"})))
    assert ask("apply", path, "--by", "ann")["published"] == 1
    assert [p["by"] for p in ask("pipelines") if p["pipeline"] == LINE] == ["ann"]
    answer = ask("publish", LINE, csv(400, 1), "--dataset-version", "v1", "--rows", "400")
    assert answer["topic"] == "snapshots" and answer["record"]["status"] == "accepted", answer
    wait(lambda: it.state(LINE)["generation"] == 1, "the first model in service")
    it.await_generation(LINE, 1)
    row = ",".join(f"{k}={v}" for k, v in CLEAR[0].items())
    answer = ask("predict", LINE, row)
    assert next(o["data"] for o in answer["outputs"] if o["name"] == "label") == ["yes"], answer
    assert ask("predict", LINE, json.dumps(CLEAR[0]))["outputs"][0]["data"] == answer["outputs"][0]["data"]
    prediction = answer["parameters"]["prediction"]
    assert ask("label", LINE, prediction, "yes")["published"] == 1
    labels = it.data / "labels.csv"
    labels.write_text(f"prediction,value\n{prediction},yes\n")
    assert ask("label", LINE, labels)["published"] == 1
    steps = wait(lambda: relearn("explain", prediction, "--json", data=it.data).stdout, "the prediction explained")
    topics = [s["topic"] for s in json.loads(steps)["steps"]]
    assert topics == ["deployments", "decisions", "evaluations", "models", "plans", "snapshots", "datasets"], topics
    expect(DONE, relearn("explain", prediction, data=it.data), "answered by generation 1 of cli", "promoted as the first model")


def commands_are_carried_out_or_refused():
    assert ask("pause", LINE, "--reason", "audit")["record"]["kind"] == "paused"
    assert ask("retrain", LINE)["record"]["kind"] == "deferred"
    assert ask("resume", LINE)["record"]["kind"] == "resumed"
    wait(lambda: it.state(LINE)["generation"] == 2 and it.state(LINE)["state"] == "at rest", lambda: it.state(LINE))
    answer = ask("rollback", LINE, "--to", "1", "--by", "ann", "--reason", "looks wrong")
    assert answer["record"]["action"] == "rollback" and answer["record"]["generation"] == 3, answer
    assert "rolled back by ann" in ask("history", LINE)[-1]["reason"]
    answer = ask("rollback", LINE, "--to", "9", code=REFUSED)
    assert answer["record"]["kind"] == "refused", answer
    assert ask("rollback", LINE, "--generation", "1", code=REFUSED)["record"]["reason"].startswith("the state moved")
    assert ask("approve", LINE, code=REFUSED)["record"]["verdict"] == "refused"
    assert ask("reject", LINE, code=REFUSED)["record"]["verdict"] == "refused"
    assert ask("alert", LINE, "--generation", "1", "-s", "old news", code=REFUSED)["record"]["kind"] == "ignored"
    run_id = ask("runs", "--line", LINE)[0]["run"]
    answer = ask("force", LINE, "--target", run_id, "--reason", "incident")
    assert answer["record"]["verdict"] == "promote" and "FORCED" in answer["record"]["reason"], answer
    expect(REFUSED, relearn("rollback", LINE, "--to", "99", data=it.data), "refused: generation 99 never was")


def lists_are_one_document_each():
    assert {r["line"] for r in ask("runs")} >= {LINE} and len(ask("runs", "--limit", "1")) == 1
    assert [m["role"] for m in ask("models", "--line", LINE)].count("champion") == 1
    assert [g["generation"] for g in ask("history", LINE)][:3] == [1, 2, 3]
    assert LINE in [l["line"] for l in ask("lines")]
    assert isinstance(ask("deadletters"), list) and ask("resend", "all") == []
    status = ask("status")
    assert status["ready"] and {i["agent"] for i in status["instances"]} >= set(AGENTS), status
    assert LINE in [l["line"] for l in status["lines"]]
    outside = json.loads(expect(DONE, relearn("status", "--json", "--console", it.url("console-1"))).stdout)
    assert [l["line"] for l in outside["lines"]] == [l["line"] for l in status["lines"]]
    for words in (["lines"], ["runs"], ["models"], ["history", LINE], ["pipelines"], ["deadletters"], ["status"]):
        assert expect(DONE, relearn(*words, data=it.data)).stdout.strip(), words


def what_is_wrong_is_refused_with_1_and_a_reason():
    bad = it.data / "bad.yaml"
    bad.write_text("apiVersion: relearn/v1\nkind: Pipeline\nname: bad\nspeed: 3\n")
    expect(REFUSED, relearn("apply", bad, data=it.data), f"{bad}:4")
    expect(REFUSED, relearn("apply", it.data / "none.yaml", data=it.data), "none.yaml")
    expect(REFUSED, relearn("publish", LINE, it.data / "none.csv", data=it.data), "there is no file")
    expect(REFUSED, relearn("publish", LINE, "ftp://h/x.csv", data=it.data), "not 'ftp://h/x.csv'")
    expect(REFUSED, relearn("retrain", "Not A Line", data=it.data), "line: give PIPELINE")
    expect(REFUSED, relearn("history", "nobody", data=it.data), "no line nobody")
    expect(REFUSED, relearn("explain", "nobody", data=it.data), "nothing is known of nobody")
    expect(REFUSED, relearn("predict", "nobody", "a=1", data=it.data), "nobody")
    expect(REFUSED, relearn("deadletters", "nobody", data=it.data), "there is no dead letter nobody")
    expect(REFUSED, relearn("resend", "nobody", data=it.data), "there is no dead letter nobody")
    expect(REFUSED, relearn("withdraw", "nobody", data=it.data), "no pipeline nobody is declared")
    expect(REFUSED, relearn("publish", "unused", csv(20, 9), "--wait", "100ms", data=it.data), "no pipeline uses its dataset")
    ragged = it.data / "ragged.csv"
    ragged.write_text("x1,x2,x3,y\n1,2\n")
    expect(REFUSED, relearn("publish", LINE, ragged, data=it.data), "rejected: ", "rule ")
    expect(REFUSED, relearn("up", data=it.data), "an installation runs in")


def a_stream_of_events_is_one_object_a_line():
    p = subprocess.Popen([BIN / "relearn", "watch", LINE, "--json", "--data", it.data], env=it.env, stdout=subprocess.PIPE, text=True)
    try:
        sent = []

        def told():  # again and again, since nobody knows when the stream begins
            sent.append(it.post("/v1/commands", {"line": LINE, "command": "resume", "by": f"n{len(sent)}"})["event"])
            return select_line(p, 0.5)

        first = json.loads(wait(told, "an event on the stream"))
        assert first["key"] == LINE and first["topic"] in ("commands", "plans"), first
    finally:
        p.kill()
        p.wait()


def select_line(p, seconds):
    import select

    return p.stdout.readline() if select.select([p.stdout], [], [], seconds)[0] else None


def a_pipeline_is_withdrawn():
    it.apply(pipeline("short-lived"))
    wait(lambda: "short-lived" in [p["pipeline"] for p in ask("pipelines")], "the pipeline")
    ask("withdraw", "short-lived")
    wait(lambda: "short-lived" not in [p["pipeline"] for p in ask("pipelines")], "it is gone")
    expect(REFUSED, relearn("retrain", "short-lived", data=it.data), "not declared, or was withdrawn")


# ---- the supervisor ----------------------------------------------------------------------------------------------------


def an_agent_that_dies_comes_back_where_it_was():
    for instance in ("gate-1", "serve-1", "console-1"):
        url, restarts = it.look()[instance]["url"], it.look()[instance]["restarts"]
        it.restart(instance)
        assert it.instances[instance]["url"] == url, instance
        status = {i["instance"]: i for i in ask("status")["instances"]}[instance]
        assert status["restarts"] == restarts + 1 and status["last_signal"] == signal.SIGKILL, status
    assert ask("retrain", LINE)["topic"] == "plans"


def one_that_is_stopped_by_hand_comes_back_too():
    pid = it.kill("plan-1", signal.SIGTERM)
    wait(lambda: it.pid("plan-1") not in (0, pid), "another process")
    it.await_ready("plan-1")


def scaling_starts_and_ends_instances():
    said = ask("scale", "train=2", "serve=2")
    names = [i["instance"] for i in said["instances"]]
    assert {"train-1", "train-2", "serve-1", "serve-2"} <= set(names), names
    assert names.index("train-2") == names.index("train-1") + 1, names
    it.await_generation(LINE, it.state(LINE)["generation"], "serve-2")
    restarts = {i["instance"]: i["restarts"] for i in said["instances"]}
    ask("scale", "train=1")
    said = ask("scale", "train=2")  # the one that was on its way out comes back, under the same name
    assert [i["instance"] for i in said["instances"]].count("train-2") == 1
    assert {i["instance"]: i["restarts"] for i in said["instances"]} == restarts, "what was asked for is no death"
    event = it.post("/v1/commands", {"line": LINE, "command": "retrain"})["event"]
    assert it.end_of(LINE, event)["outcome"] == "promoted"
    said = ask("scale", "train=1", "serve=1")
    assert {"train-2", "serve-2"}.isdisjoint(i["instance"] for i in said["instances"])
    expect(USAGE, relearn("scale", "train=0", data=it.data), "give 1 to 32 instances")


def the_bus_comes_back_with_its_journal_and_the_agents_follow():
    address, before = it.bus, ask("history", LINE)
    it.restart("broker")
    wait(lambda: relearn("status", data=it.data).returncode == DONE, lambda: relearn("status", data=it.data).stdout, 120)
    it.await_ready()
    assert it.instances["broker"]["url"] == address
    assert ask("history", LINE) == before
    it.read_anew()
    assert ask("retrain", LINE)["topic"] == "plans"
    wait(lambda: len(ask("history", LINE)) == len(before) + 1, "another generation")


def down_and_up_again_loses_nothing():
    ask("scale", "gate=2")
    before = ask("history", LINE)
    pids = [i["pid"] for i in it.status()["instances"]]
    it.down()
    assert not any(alive(pid) for pid in pids) and not list((it.data / "run").glob("*.address"))
    expect(NOT_RUNNING, relearn("status", data=it.data))
    expect(NOT_RUNNING, relearn("down", data=it.data))
    it.up()
    assert "gate-2" in it.instances, "a scale is remembered"
    assert ask("history", LINE) == before
    ask("scale", "gate=1")


def a_supervisor_that_is_killed_takes_its_agents_along():
    pids = [i["pid"] for i in it.status()["instances"]]
    os.kill(it.supervisor, signal.SIGKILL)
    wait(lambda: not any(alive(pid) for pid in pids), "every process gone")
    expect(NOT_RUNNING, relearn("status", data=it.data), "nothing runs in")
    it.up()
    assert ask("lines")


# ---- installations that cannot be --------------------------------------------------------------------------------------


def one_that_cannot_start_says_why():
    with tempfile.TemporaryDirectory() as folder:
        start = time.monotonic()
        expect(REFUSED, relearn("up", "-X", "no.such.property=1", data=folder), "does not come up", "no.such.property")
        assert time.monotonic() - start < 60
        expect(NOT_RUNNING, relearn("status", data=folder))
        expect(REFUSED, relearn("up", "--console-listen", "nonsense", data=folder), "console-1 does not come up", "nonsense")


def installed(folder):
    """`make install` into a folder: where the programs are."""
    p = subprocess.run(
        ["make", "-s", "install", f"DESTDIR={folder}", "PREFIX=/opt/relearn"], cwd=ROOT, capture_output=True, text=True,
        env={k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}, timeout=280,
    )
    assert p.returncode == 0, p.stdout + p.stderr
    return Path(folder) / "opt/relearn/bin"


def programs_work_from_where_they_are_installed():
    with tempfile.TemporaryDirectory() as folder:
        bin_dir, data = installed(folder), Path(folder) / "data"
        assert sorted(p.name for p in bin_dir.iterdir() if p.name in {f"relearn-{a}" for a in AGENTS}) == sorted(f"relearn-{a}" for a in AGENTS)
        assert list((Path(folder) / "opt/relearn/share/relearn/schemas").glob("*.avsc"))
        program = bin_dir / "relearn"
        try:
            expect(DONE, relearn("up", program=program, data=data), f"up in {data}")
            status = json.loads(expect(DONE, relearn("status", "--json", program=program, data=data)).stdout)
            for i in status["instances"]:
                assert Path(f"/proc/{i['pid']}/exe").resolve().parent == bin_dir.resolve(), i
        finally:
            relearn("down", program=program, data=data)
        (bin_dir / "relearn-gate").unlink()  # half an installation
        expect(REFUSED, relearn("up", program=program, data=data), "relearn-gate")
        shutil.rmtree(data)


def main():
    global it
    alone = [
        help_lists_every_command,
        each_command_has_help_with_an_example,
        each_agent_has_help_with_an_example,
        wrong_usage_exits_with_2,
        nothing_running_exits_with_3,
        a_record_of_a_dead_installation_is_not_believed,
        the_catalogue_of_topics_is_printed,
        *([topics_are_created_and_compared_with_the_catalogue] if KAFKA else []),  # the embedded bus makes its own
        what_replay_cannot_use_is_refused,
        a_replay_that_is_killed_leaves_nothing_running,
        one_that_cannot_start_says_why,
        programs_work_from_where_they_are_installed,
    ]
    installed_cases = [
        what_goes_in_is_answered,
        commands_are_carried_out_or_refused,
        lists_are_one_document_each,
        what_is_wrong_is_refused_with_1_and_a_reason,
        a_stream_of_events_is_one_object_a_line,
        a_pipeline_is_withdrawn,
        an_agent_that_dies_comes_back_where_it_was,
        one_that_is_stopped_by_hand_comes_back_too,
        scaling_starts_and_ends_instances,
        *([] if KAFKA else [the_bus_comes_back_with_its_journal_and_the_agents_follow]),
        down_and_up_again_loses_nothing,
        a_supervisor_that_is_killed_takes_its_agents_along,
    ]
    with Installation("cli") as it:
        return run([*alone, *installed_cases], it)


if __name__ == "__main__":
    sys.exit(main())
