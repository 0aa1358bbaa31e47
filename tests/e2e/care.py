#!/usr/bin/env python3
"""Taking care of an installation: what `relearn gc`, `deadletters`, `state rebuild` and `doctor` find and mend, on a whole
system that goes on meanwhile. On the embedded bus, and on Kafka when RELEARN_TEST_BROKERS is set.
"""
# time-limit: 600
import io
import json
import os
import resource
import sys
import threading
import time
from pathlib import Path

import fastavro
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from proof import verified
from relearn_e2e import (
    CLEAR, CLEAR_LABELS, CONTROL, KAFKA, ROOT, Installation, header, mislabel, pipeline, rows_of, run, wait, write_csv,
)

it = None  # the installation
DONE, REFUSED, USAGE, NOT_RUNNING = 0, 1, 2, 3
LINE = "care"
DAY_S = 86400


def relearn(*words, code=DONE):
    """A command with --json: its one document."""
    p = it.command(*words, "--json", check=False)
    assert p.returncode == code, f"relearn {' '.join(map(str, words))}: exit code {p.returncode}, not {code}: {p.stdout}{p.stderr}"
    return json.loads(p.stdout) if p.stdout else p.stderr


def data(name, seed, rows=300):
    return write_csv(it.data / name, rows_of(rows, seed))


# ---- gc ----------------------------------------------------------------------------------------------------------------


def store():
    return it.data / "artifacts"


def stored():
    """Every file of the store that is not a schema or the lock."""
    return {str(p.relative_to(store())) for p in store().rglob("*") if p.is_file() and "schemas" not in p.parts and p.name != ".clearing"}


def age(days=2):
    then = time.time() - days * DAY_S
    for path in store().rglob("*"):
        if path.is_file() or path.parent.name == "runs":
            try:
                os.utime(path, (then, then))
            except FileNotFoundError:
                pass  # of a put that is under way


def litter():
    """What killed processes and lost runs leave, each too old to be about to be named."""
    left = {f"sha256/00/{'a' * 62}": "bytes that no event names", "tmp/model-1-0": "half a model", "sha256/11/.tmp-0123456789": "half a put"}
    left["runs/0123456789abcdef0123456789abcdef/result.json"] = "{}"
    for name, text in left.items():
        path = store() / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    age()
    return set(left)


def gc_removes_what_nothing_names_and_nothing_else():
    before = stored()
    finished = {f"runs/{e['record']['run']}/result.json" for e in it.events("models")}
    left = litter()
    dry = relearn("gc", "--dry-run")
    assert dry["dry_run"] and stored() == before | left, "a dry run removes nothing"
    names = {e["name"] for e in dry["removed"]}
    said = it.command("gc", "--dry-run").stdout
    assert all(n in said for n in names) and "would remove" in said, said
    done = relearn("gc")
    assert {e["name"] for e in done["removed"]} == names and done["total"]["n"] == len(left | finished), done
    assert stored() == before - finished, stored() ^ (before - finished)
    assert relearn("gc")["removed"] == []
    assert it.labels_of(LINE, CLEAR) == CLEAR_LABELS


def gc_leaves_what_is_young():
    left = litter()
    for name in left:
        os.utime(store() / name)
    said = relearn("gc")
    assert not said["removed"] and said["young"]["n"] == len(left), said
    assert stored() >= left
    age()
    assert len(relearn("gc")["removed"]) == len(left)


def gc_beside_a_loop_that_works_harms_nothing():
    """Everything is old, and the same bytes are put again: the bytes of an accepted version that an event is about to name."""
    stop, said = threading.Event(), []

    def clear():
        while not stop.is_set():
            said.append(it.command("gc", check=False))

    thread = threading.Thread(target=clear)
    thread.start()
    try:
        for seed in (11, 12, 11, 12, 13):
            age()
            litter()
            end = it.learn(LINE, LINE, data(f"beside-{seed}.csv", seed))
            assert end["outcome"] in ("promoted", "rejected", "inconclusive"), end
    finally:
        stop.set()
        thread.join()
    assert all(p.returncode == DONE for p in said), [p.stderr for p in said if p.returncode]
    assert it.labels_of(LINE, CLEAR) == CLEAR_LABELS
    for e in it.events("models"):
        if e["record"]["model"]:
            model = json.loads(artifact(e["record"]["model"]).read_text())
            assert artifact(model["file"]["sha256"]).exists() and artifact(model["profile"]).exists()
    for e in it.events("snapshots"):
        if e["record"]["snapshot"]:
            manifest = json.loads(artifact(e["record"]["snapshot"]).read_text())
            for name, digest in manifest["files"].items():
                assert artifact(digest).exists(), name


def artifact(digest):
    return store() / "sha256" / digest[:2] / digest[2:]


def gc_that_cannot_know_what_is_named_removes_nothing():
    left = litter()
    before = stored()
    model = artifact(it.events("models")[-1]["record"]["model"])
    good = model.read_bytes()
    model.write_bytes(good[:-7])
    assert "manifests that the log names are missing or damaged" in relearn("gc", code=REFUSED)
    model.unlink()
    assert "1 manifests" in relearn("gc", "--dry-run", code=REFUSED)
    model.write_bytes(good)
    nobody = "nobody-"
    if KAFKA:  # the embedded bus has the topics of one prefix
        it.command("topics", "--brokers", it.bus, "--prefix", f"{it.prefix}{nobody}", "--partitions", 1)
        other = relearn("gc", "--prefix", f"{it.prefix}{nobody}", code=REFUSED)
        assert "may be another installation's store" in other, other
    else:
        other = relearn("gc", "--prefix", nobody, code=REFUSED)
        assert nobody in other, other
    assert "no artefact store" in relearn("gc", "--artifacts", it.data / "typo", code=REFUSED)
    assert not (it.data / "typo").exists()
    assert stored() == before, "nothing was removed"
    assert len(relearn("gc")["removed"]) >= len(left)


def gc_refuses_when_the_log_has_lost_its_beginning():
    """By retention on Kafka, on the embedded bus since the ring is full. What the lost events named is unknown."""
    left = litter()
    before, topic = stored(), f"{it.prefix}models"
    assert relearn("gc", "--dry-run")["removed"], "as long as all of it is there"
    if KAFKA:
        admin = AdminClient({"bootstrap.servers": KAFKA, "log_level": 0})
        ends = {m.partition(): m.offset() + 1 for m in it.raw("models")}
        lost = [TopicPartition(topic, p, 1) for p in ends]
        for done in admin.delete_records(lost).values():
            done.result(30)
    else:
        big = (b"none", os.urandom(3_000_000), [], 0)
        it.produce("models", [big] * 3, **{"message.max.bytes": 4_000_000})
    for words in (["gc"], ["gc", "--dry-run"]):
        said = relearn(*words, code=REFUSED)
        assert f"the oldest events of {topic} [" in said and "it begins at offset" in said and "nothing is removed" in said, said
    assert stored() == before
    assert {e["name"] for e in relearn("gc", "--dry-run", "--anyway")["removed"]} and stored() == before
    assert left <= before


# ---- dead letters ------------------------------------------------------------------------------------------------------


def encoded_by_another_version(path):
    """A dataset event with a field more, as a version would write it that nobody here knows; its schema's file in the store."""
    schema = json.loads((ROOT / "schemas/dataset_published.avsc").read_text())
    schema["fields"].append({"name": "colour", "type": "string", "default": ""})
    mark = fastavro.schema.fingerprint(fastavro.schema.to_parsing_canonical_form(schema), "CRC-64-AVRO")
    out = io.BytesIO()
    fields = {f["name"]: None for f in schema["fields"]} | {"by": "ann"}
    fastavro.schemaless_writer(out, schema, fields | {"dataset": LINE, "uri": f"file://{path}", "colour": "blue"})
    return b"\xc3\x01" + bytes.fromhex(mark) + out.getvalue(), store() / "schemas" / f"{mark}.avsc", json.dumps(schema)


def a_dead_letter_goes_back_once_as_it_was():
    value, schema_file, schema = encoded_by_another_version(data("late.csv", 90))
    headers = [("ce_id", b"late-1"), ("ce_source", b"/elsewhere"), ("x-mine", b"kept")]
    it.produce("datasets", [(LINE.encode(), value, headers, None)])
    waiting = wait(lambda: relearn("deadletters", "--state", "waiting"), "the event aside")
    assert [w["event"] for w in waiting] == ["late-1"], waiting
    letter = waiting[0]["id"]
    assert relearn("deadletters", "list", "--topic", "plans") == relearn("deadletters", "--reason", "no such reason") == []
    assert len(relearn("deadletters", "list", "--topic", "datasets", "--since", "1h", "--reason", "schema")) == 1
    shown = relearn("deadletters", "show", letter)
    assert shown["value_hex"] == value.hex() and shown["headers"]["x-mine"] == "kept" and "unknown schema" in shown["unreadable"], shown
    assert "value_hex" not in it.command("deadletters", "show", letter).stdout and value.hex() in it.command("deadletters", letter).stdout
    assert "which?" in relearn("deadletters", "send-back", code=USAGE)
    assert "still cannot be read" in relearn("deadletters", "send-back", letter, code=REFUSED)[0]["error"]
    schema_file.write_text(schema)
    dry = relearn("deadletters", "send-back", "--topic", "datasets", "--dry-run")
    assert dry == [{"id": letter, "sent": False}] and len(it.raw("datasets")) == len(it.events("datasets")) + 1
    assert relearn("deadletters", "show", letter)["decoded"]["uri"].endswith("late.csv")
    assert relearn("deadletters", "send-back", "--topic", "datasets") == [{"id": letter, "sent": True, "event": "late-1"}]
    outcome = it.snapshot(LINE, "late-1")
    assert outcome["status"] == "accepted", outcome
    first, second = [m for m in it.raw("datasets") if header(m, "ce_id") == "late-1"]
    assert (first.key(), first.value(), sorted(first.headers())) == (second.key(), second.value(), sorted(second.headers()))
    wait(lambda: relearn("deadletters")[0]["state"] == "answered", "it marked as answered")
    assert relearn("deadletters", "send-back", "all") == []
    assert "sent back before" in relearn("deadletters", "send-back", letter, code=REFUSED)[0]["error"]
    assert relearn("deadletters", "send-back", letter, "--again", "--by", "ann")[0]["sent"]
    assert len(relearn("deadletters", "show", letter)["sent_back"]) == 2
    it.await_idle()
    assert len(it.events("snapshots", LINE, cause="late-1")) == 1
    assert relearn_says("status")["dead_letters"] == 0


def relearn_says(*words):
    return json.loads(it.command(*words, "--json", check=False).stdout)


# ---- doctor ------------------------------------------------------------------------------------------------------------


def ails(*words, code=REFUSED):
    """What doctor finds wrong: check -> (what, mend)."""
    said = relearn("doctor", *words, code=code)
    assert said["well"] == (code == DONE), said
    assert all(f["mend"] for f in said["findings"] if f["level"] != "ok"), said
    return {f["check"]: (f["what"], f["mend"]) for f in said["findings"] if f["level"] == "bad"}


def doctor_finds_what_is_wrong_and_says_what_mends_it():
    said = relearn("doctor")
    assert said["well"] and {"brokers", "topics", "store", "clocks", "disk", "agents", "memory"} <= {f["check"] for f in said["findings"]}, said
    kafka = [f["what"] for f in said["findings"] if f["check"] in ("copies", "clocks") and "broker" in f["what"]]
    assert len(kafka) == (2 if KAFKA else 0), said  # how topics are kept, and the brokers' clock: cluster.py has more of it
    assert "0 things are wrong" in it.command("doctor").stdout
    what, mend = ails("--prefix", "nobody-")["topics"]
    assert "nobody-" in what and mend.startswith("relearn topics --brokers"), (what, mend)
    assert "no broker" in ails("--brokers", "127.0.0.1:9")["brokers"][0]
    assert "127.0.0.1:9" in ails("--registry", "http://127.0.0.1:9")["registry"][0]
    assert "no artefact store" in ails("--artifacts", it.data / "typo")["store"][0]
    left = store() / "tmp"
    left.rename(store() / "gone")
    try:
        assert "cannot be written" in ails()["store"][0]
    finally:
        (store() / "gone").rename(left)
    assert not ails(code=DONE)


# ---- state -------------------------------------------------------------------------------------------------------------


def state_is_rebuilt_to_the_same():
    """Of one agent, of one of two instances, of console with its view; and of an installation that does not run."""
    it.command("scale", "gate=2")
    it.await_ready()
    it.await_idle()
    for what, instances in (("gate", ["gate-1", "gate-2"]), ("plan-1", ["plan-1"]), ("console", ["console-1"])):
        pids = {i: it.pid(i) for i in instances}
        said = relearn("state", "rebuild", what)
        assert [(s["instance"], s["fold"]) for s in said] == [(i, "the same") for i in instances], said
        assert all(s["before"] == s["after"] for s in said), said
        assert what == "gate" or said[0]["after"]["events"] > 0
        assert all(it.pid(i) != pids[i] for i in instances)
    it.read_anew()
    assert it.learn(LINE, LINE, data("rebuilt.csv", 95))["outcome"] in ("promoted", "rejected")
    relearn("state", "rebuild", "nobody", code=REFUSED)
    assert "usage: relearn state rebuild AGENT" in relearn("state", "remove", "gate", code=USAGE)
    it.await_idle()
    it.down()
    assert relearn("state", "rebuild", "plan") == [{"instance": "plan-1", "fold": "rebuilt at the next start"}]
    assert not (it.data / "state/plan-1").exists()
    it.up()
    it.await_idle()
    assert it.labels_of(LINE, CLEAR) == CLEAR_LABELS


# ---- the embedded bus and its disk -------------------------------------------------------------------------------------


def of_broker():
    """What `relearn status` says of the bus."""
    said = json.loads(it.command("status", "--json", check=False).stdout)
    return next(i for i in said["instances"] if i["instance"] == "broker")


def await_synced():
    wait(lambda: of_broker()["journal"]["unsynced_records"] == 0, lambda: f"everything in the journal: {of_broker()}")


def teach(line, on_step):
    """Six versions, one with wrong labels; on_step is called when the first event of a topic has come of each."""
    steps = ["snapshots", "plans", "models", "evaluations", "decisions", "deployments"]
    it.apply(pipeline(line))
    for k, topic in enumerate(steps):
        rows = rows_of(300, 40 + k)
        path = write_csv(it.data / f"taught-{k}.csv", mislabel(rows, 1) if k == 3 else rows)
        before = len(it.events(topic, line))
        body = {"dataset": line, "uri": f"file://{path}"}
        event = it.post("/v1/datasets", body, Idempotency_Key=f"{line}-{k}")["event"]  # console may die before it answers
        await_synced()  # what nobody can derive again must be there
        wait(lambda: len(it.events(topic, line)) > before, f"{topic} of version {k}")
        on_step()
        it.end_of(line, it.snapshot(line, event)["id"])
    it.await_idle()


def story_of(line):
    """What came of each run, in order, and what was put into service."""
    ends = [e["record"]["outcome"] for e in it.events("plans", line, kind="closed")]
    return ends, [(d["base"], d["generation"], d["action"], d["is_final"]) for d in it.deployments(line)]


def each_step_was_done_once(line):
    for e in it.events("datasets", line):
        assert len(it.events("snapshots", line, cause=e["id"])) == 1, e
    for plan in it.events("plans", line, kind="requested"):
        for topic, how in (("models", {}), ("plans", {"kind": "closed"})):
            assert len(it.events(topic, line, run=plan["id"], **how)) == 1, (topic, plan)
    for topic in CONTROL:
        if topic == "datasets":  # a request is told again under its key when console dies before it answers: one event all the same
            continue
        ids = [header(m, "ce_id") for m in it.raw(topic) if (m.key() or b"").decode() == line]
        assert len(ids) == len(set(ids)), f"{topic}: the same id more than once"


def a_bus_that_is_killed_in_the_midst_of_the_work_loses_and_repeats_nothing():
    """kill -9 at six moments, nothing waited for; the decisions are those of a line that was left alone."""
    def kill():
        it.restart("broker")
        it.await_ready()
        it.read_anew()  # another cluster, so another view

    teach("calm", lambda: None)
    teach("killed", kill)
    assert story_of("killed") == story_of("calm"), (story_of("killed"), story_of("calm"))
    for line in ("calm", "killed"):
        each_step_was_done_once(line)
        assert it.labels_of(line, CLEAR) == CLEAR_LABELS
    verified(it)


def a_full_disk_stops_the_bus_and_room_starts_it_again():
    """The journal's file may not grow: a full disk, as the process sees it."""
    line, pid = "full", it.pid("broker")
    it.apply(pipeline(line))
    await_synced()
    before = it.events("pipelines") + it.events("datasets")
    size = (it.data / "journal").stat().st_size
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size + 500, resource.RLIM_INFINITY))
    path = data("full.csv", 60)
    publishing = threading.Thread(target=lambda: it.command("publish", line, path, "--wait", "0", check=False))
    publishing.start()
    try:
        wait(lambda: of_broker()["state"] == "disk full", lambda: f"a full disk noticed: {of_broker()}")
        said = it.command("status", check=False)
        assert said.returncode == REFUSED and "nothing is taken: write" in said.stdout and "File too large" in said.stdout, said.stdout
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        publishing.join()
    wait(lambda: of_broker()["state"] == "ready", lambda: f"the bus going on: {of_broker()}")
    assert it.pid("broker") == pid, "it was not started anew"
    it.await_ready()
    assert it.learn(line, line, data("room.csv", 61))["outcome"] == "promoted"
    it.restart("broker")
    it.await_ready()
    it.read_anew()
    after = {e["id"] for e in it.events("pipelines") + it.events("datasets")}
    assert {e["id"] for e in before} <= after
    assert it.labels_of(line, CLEAR) == CLEAR_LABELS


def a_damaged_journal_is_refused_with_the_way_out():
    it.await_idle()
    it.down()
    journal = it.data / "journal"
    good = journal.read_bytes()
    middle = len(good) // 2
    journal.write_bytes(good[:middle] + bytes([good[middle] ^ 1]) + good[middle + 1:])
    said = it.command("up", check=False)
    assert said.returncode == REFUSED and "is damaged from byte" in said.stderr and "--salvage" in said.stderr, said.stderr
    journal.write_bytes(b"this is no journal\n")
    said = it.command("up", check=False)
    assert said.returncode == REFUSED and "does not begin as a journal does" in said.stderr, said.stderr
    assert journal.read_bytes() == b"this is no journal\n"
    journal.write_bytes(good + b"RLJB half a batch")
    it.up()
    assert of_broker()["journal"]["torn_bytes"] == 17
    assert "was cut off when it started: 17 bytes" in it.command("status").stdout
    assert it.labels_of(LINE, CLEAR) == CLEAR_LABELS


def main():
    global it
    with Installation("care") as it:
        it.apply(pipeline(LINE))
        assert it.learn(LINE, LINE, data("first.csv", 1))["outcome"] == "promoted"
        return run([
            gc_removes_what_nothing_names_and_nothing_else,
            gc_leaves_what_is_young,
            gc_beside_a_loop_that_works_harms_nothing,
            gc_that_cannot_know_what_is_named_removes_nothing,
            state_is_rebuilt_to_the_same,
            a_dead_letter_goes_back_once_as_it_was,
            doctor_finds_what_is_wrong_and_says_what_mends_it,
        ] + ([] if KAFKA else [
            a_bus_that_is_killed_in_the_midst_of_the_work_loses_and_repeats_nothing,
            a_full_disk_stops_the_bus_and_room_starts_it_again,
            a_damaged_journal_is_refused_with_the_way_out,
        ]) + [
            gc_refuses_when_the_log_has_lost_its_beginning,  # the last one: its installation is a wreck then
        ], it)


if __name__ == "__main__":
    sys.exit(main())
