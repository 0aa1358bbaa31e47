#!/usr/bin/env python3
"""`relearn verify` on a real installation: what the loop made holds, also while it goes on; and what was damaged through a producer or in
the store is found, each by its check and with its event. On the embedded bus, and on Kafka when RELEARN_TEST_BROKERS is set.
"""
# time-limit: 480
import io
import json
import os
import re
import signal
import sys
import threading
import time

import relearn_e2e  # noqa: F401: finds the tests' own Python first
import fastavro
from fastavro.schema import fingerprint, parse_schema, to_parsing_canonical_form

from relearn_e2e import BIN, CLEAR, ROOT, Installation, header, pipeline, rows_of, run, wait, write_csv

it = None  # the installation
SCHEMAS = {p.stem: json.loads(p.read_text()) for p in sorted((ROOT / "schemas").glob("*.avsc"))}
RECORDS = {
    "datasets": "dataset_published", "plans": "training_planned", "models": "training_finished", "decisions": "gate_decided",
    "deployments": "deployment_changed", "serving": "serving_changed", "deadletters": "dead_lettered",
    "snapshots": "dataset_ingested",
}
HOLDS, REFUTED, USAGE = 0, 1, 2
CHECKS = [
    "readable", "ids", "places", "causes", "outcomes", "triggers", "runs", "evaluations", "decisions", "commands", "bases",
    "generations", "promotions", "serving", "artefacts", "unnamed", "deadletters",
]


def verify(*words, code=None):
    """What it says with --json. code: its exit code."""
    p = it.command("verify", "--json", *words, check=False)
    said = json.loads(p.stdout) if p.stdout else p.stderr
    assert code is None or p.returncode == code, f"exit code {p.returncode}: {json.dumps(said, indent=1)[-3000:]}"
    return said


def found(said):
    return {(v["check"], v["id"]) for v in said["violations"]}


def expect(check, event, *words, line=None):
    """This violation is there, told in full."""
    said = verify("--patience", "0s", code=REFUTED)
    these = [v for v in said["violations"] if v["check"] == check and v["id"] == event and (line is None or v["line"] == line)]
    assert these, f"{check} says nothing of {event}: {json.dumps(said['violations'], indent=1)[:3000]}"
    assert these[0]["what"] and these[0]["todo"], these
    for word in words:
        assert word in these[0]["what"], f"{word!r}: {these[0]}"
    return these[0]


# ---- events that nobody should have written ----------------------------------------------------------------------------


def encode(topic, record):
    schema = SCHEMAS[RECORDS[topic]]
    out = io.BytesIO()
    fastavro.schemaless_writer(out, parse_schema(schema), record)
    return b"\xc3\x01" + bytes.fromhex(fingerprint(to_parsing_canonical_form(schema), "CRC-64-AVRO")) + out.getvalue()


def decode(topic, value):
    return fastavro.schemaless_reader(io.BytesIO(value[10:]), parse_schema(SCHEMAS[RECORDS[topic]]))


def records(topic, **fields):
    """The messages of a topic whose record has these values, each with its record."""
    both = [(m, decode(topic, m.value())) for m in it.raw(topic) if (m.value() or b"")[:2] == b"\xc3\x01"]
    return [(m, r) for m, r in both if all(r.get(k) == v for k, v in fields.items())]


def seed(topic, message, event, cause=None, **changes):
    """A message like that one, under another id, with other values in its record; on the same partition."""
    old, record = message
    headers = [(k, v) for k, v in old.headers() if k not in ("ce_id", "ce_causationid", "ce_seen")]
    headers.append(("ce_id", event.encode()))
    if cause is not False:
        headers.append(("ce_causationid", cause.encode() if cause else header(old, "ce_causationid").encode()))
    it.produce(topic, [(old.key(), encode(topic, record | changes), headers, old.partition())])
    return event


class Held:
    """An agent that does nothing for a while, so that what it would mend stays."""

    def __init__(self, instance):
        self.pid = it.pid(instance)

    def __enter__(self):
        os.kill(self.pid, signal.SIGSTOP)

    def __exit__(self, *_):
        os.kill(self.pid, signal.SIGCONT)


# ---- what holds --------------------------------------------------------------------------------------------------------


def what_the_loop_made_holds():
    it.apply(pipeline("p"))
    for n in (1, 2):
        assert it.learn("p", "p", write_csv(it.data / f"p{n}.csv", rows_of(400, n)))["outcome"] == "promoted"
    prediction = it.predict("p", CLEAR)["parameters"]["prediction"]
    it.post("/v1/labels", {"line": "p", "prediction": f"{prediction}.0", "value": "yes"})
    it.command("alert", "p", "--summary", "prices moved")
    it.command("rollback", "p")
    segmented = pipeline("seg")
    segmented["dataset"]["segment"] = "s"
    it.apply(segmented)
    rows = [r | {"s": "ab"[i % 2]} for i, r in enumerate(rows_of(800, 3))]
    event = it.publish("seg", write_csv(it.data / "seg.csv", rows))
    for line in ("seg/a", "seg/b"):
        it.end_of(line, it.snapshot(line, event)["id"])
    it.produce("labels", [(b"p", b"no Avro", [("ce_id", b"poison-1")], None)])
    wait(lambda: it.raw("deadletters"), "the poison aside")
    it.await_idle()
    said = verify("--patience", "0s", code=HOLDS)
    assert said["holds"] and [c["check"] for c in said["checks"]] == CHECKS, said
    none = {c["check"] for c in said["checks"] if c["looked_at"] == 0}
    assert not none, f"nothing was looked at: {none}"
    assert all(c["open"] == 0 for c in said["checks"]), said["checks"]
    assert said["events"]["deployments"] >= 5 and said["events"]["pipelines"] == 2, said["events"]
    text = it.command("verify", "--patience", "0s").stdout
    assert "all of it holds" in text and re.search(r"^generations +\d+ +0 +0 ", text, re.M), text


def what_is_judged_can_be_said():
    everything = {c["check"]: c["looked_at"] for c in verify(code=HOLDS)["checks"]}
    nothing = {c["check"]: c["looked_at"] for c in verify("--since", "2100-01-01T00:00:00Z", code=HOLDS)["checks"]}
    assert nothing["ids"] == 0 and nothing["runs"] == 0 and nothing["artefacts"] == everything["artefacts"], nothing
    assert {c["check"]: c["looked_at"] for c in verify("--since", "24h", code=HOLDS)["checks"]} == everything
    assert "give a time like" in verify("--since", "yesterday", code=USAGE)


def it_is_found_as_by_the_other_commands():
    words = ["--brokers", it.bus, "--prefix", it.prefix, "--artifacts", f"file://{it.data}/artifacts", "--data", it.data / "none"]
    p = relearn_e2e.subprocess.run(
        [BIN / "relearn", "verify", "--json", *map(str, words)], env=it.clean, capture_output=True, text=True, timeout=120,
    )
    assert p.returncode == HOLDS and json.loads(p.stdout)["events"]["pipelines"] == 2, p.stdout + p.stderr


def it_holds_while_events_keep_coming():
    """Predictions, labels and whole runs meanwhile; every run of verify sees another moment of them."""
    over, errors, asked = threading.Event(), [], [0]

    def predict():
        import requests

        with requests.Session() as own:
            while not over.is_set():
                r = own.post(f"{it.url('serve-1')}/v2/models/p/infer", json=relearn_e2e.infer_body(CLEAR), timeout=60)
                if r.status_code != 200:
                    errors.append(r.text)
                asked[0] += 1

    thread = threading.Thread(target=predict)
    thread.start()
    try:
        for n in range(4, 8):
            it.publish("p", write_csv(it.data / f"p{n}.csv", rows_of(400, n)))
            said = verify(code=HOLDS)
            assert said["holds"], said
    finally:
        over.set()
        thread.join()
    assert not errors and asked[0] > 10, errors[:3]
    wait(lambda: it.idle() and it.state("p")["state"] != "training", "the loop at rest")
    verify("--patience", "0s", code=HOLDS)


def what_is_owed_and_young_is_open():
    with Held("ingest-1"):
        event = it.publish("p", write_csv(it.data / "open.csv", rows_of(400, 20)))
        it.produce("datasets", [(b"p", b"no Avro", [("ce_id", b"poison-2")], None)])
        said = verify(code=HOLDS)
        assert {c["check"] for c in said["checks"] if c["open"]} == {"outcomes", "readable"}, said["checks"]
        missing = verify("--patience", "0s", code=REFUTED)
        assert ("outcomes", event) in found(missing) and ("readable", None) in found(missing), missing["violations"]
    it.snapshot("p", event)
    wait(lambda: len(it.raw("deadletters")) > 1, "the poison aside")
    it.await_idle()
    verify("--patience", "0s", code=HOLDS)


# ---- what was damaged --------------------------------------------------------------------------------------------------


def path_of(digest):
    return it.data / "artifacts/sha256" / digest[:2] / digest[2:]


def json_leaves(value, name=None):
    """Every text in a document with the name that it stands under."""
    if isinstance(value, dict):
        return [leaf for k, v in value.items() for leaf in json_leaves(v, k)]
    if isinstance(value, list):
        return [leaf for v in value for leaf in json_leaves(v, name)]
    return [(name, value)]


def a_missing_artefact_is_found():
    message, deployment = records("deployments", line="p", kind="changed")[0]
    path = path_of(deployment["model"])
    path.rename(path.with_suffix(".away"))
    try:
        assert any("is not in the store" in v["what"] and deployment["model"] in v["what"] for v in
                   verify("--patience", "0s", code=REFUTED)["violations"] if v["check"] == "artefacts")
    finally:
        path.with_suffix(".away").rename(path)
    verify("--patience", "0s", code=HOLDS)


def an_artefact_with_other_bytes_is_found():
    _, snapshot = records("snapshots", line="p")[0]
    manifest = json.loads(path_of(snapshot["snapshot"]).read_text())
    digest = next(v for k, v in json_leaves(manifest) if k == "features.npy")
    path, bytes_before = path_of(digest), path_of(digest).read_bytes()
    os.chmod(path, 0o640)
    path.write_bytes(bytes_before[:-1] + bytes([bytes_before[-1] ^ 1]))
    try:
        said = verify("--patience", "0s", code=REFUTED)
        assert any(digest in v["what"] and "damaged" in v["what"] for v in said["violations"]), said["violations"]
        assert verify("--patience", "0s", "--bytes=false", code=HOLDS)["holds"], "only whether it is there was asked"
    finally:
        path.write_bytes(bytes_before)
    verify("--patience", "0s", code=HOLDS)


def an_old_file_that_nobody_names_is_found():
    name = "0123456789abcdef" * 4
    path_of(name).write_text("nobody's")
    verify("--patience", "0s", code=HOLDS)
    os.utime(path_of(name), (time.time() - 90000,) * 2)
    try:
        said = verify("--patience", "0s", code=REFUTED)
        assert [v["check"] for v in said["violations"]] == ["unnamed"] and name[2:] in said["violations"][0]["what"], said["violations"]
        text = it.command("verify", check=False)
        assert text.returncode == REFUTED and "REFUTED: nothing in the store" in text.stdout and "relearn gc" in text.stdout, text.stdout
    finally:
        path_of(name).unlink()


def one_id_for_two_datasets_is_found():
    like = records("datasets")[0]  # partitions come in any order: not the same one each time
    seed("datasets", like, "twice-1", cause=False, uri="file:///nowhere/1.csv")
    verify(code=HOLDS)
    seed("datasets", like, "twice-1", cause=False, uri="file:///nowhere/1.csv")
    assert verify(code=HOLDS)["repeated"] == 1, "the same bytes once more are harmless"
    seed("datasets", like, "twice-1", cause=False, uri="file:///nowhere/2.csv")
    it.await_idle()
    expect("ids", "twice-1", "says something else")


def a_second_result_is_found():
    seed("models", records("models", line="p")[0], "second-result")
    expect("runs", "second-result", "is a second result of run")


def an_effect_without_a_cause_is_found():
    seed("plans", records("plans", line="p", kind="closed")[0], "effect-1", cause="never-written", line="ghost", run="never-asked")
    expect("causes", "effect-1", "follows from never-written, which is not in the log")
    expect("runs", "effect-1", "which no plan that counts asks for", line="ghost")


def an_effect_before_its_cause_is_found():
    plan = records("plans", line="p", kind="closed")[0]
    seed("plans", plan, "effect-2", cause="cause-2", line="ghost", run="effect-2")
    seed("plans", plan, "cause-2", cause="effect-2", line="ghost", run="cause-2")
    expect("causes", "effect-2", "comes before its cause cause-2")


def a_base_that_nobody_reached_is_found():
    seed("decisions", records("decisions", line="p", verdict="promote")[0], "base-99", line="ghost", base=99)
    expect("bases", "base-99", "is based on 99 accepted ones before it, and the log has 0", line="ghost")


def a_dead_letter_without_reason_is_found():
    seed("deadletters", records("deadletters")[0], "no-reason", cause=False, reason="")
    expect("deadletters", "no-reason", "gives no reason")


def an_instance_that_serves_something_else_is_found():
    message, report = records("serving")[-1]
    lines = [s | {"model": "f" * 64} for s in report["lines"]]
    seed("serving", (message, report), "liar-1", cause=False, instance="liar-1", lines=lines, changed_line=None)
    expect("serving", "liar-1", "champion is another")


def a_gap_in_the_generations_is_found():
    """And a promotion without its decision: the last of these, since serve follows it."""
    message, last = records("deployments", line="p", kind="changed")[-1]
    generation = last["generation"] + 2
    routes = [r | {"generation": generation} for r in last["routes"]]
    seed("deployments", (message, last), "gap-1", cause="nobody-decided", base=last["base"] + 1, generation=generation, routes=routes,
         action="replace", decision="nobody-decided", is_final=True)
    expect("generations", "gap-1", "a generation is missing", line="p")
    expect("promotions", "gap-1", "has no decision: nobody-decided is not in the log", line="p")


def all_of_it_is_told_in_one_table():
    text = it.command("verify", "--patience", "0s", check=False)
    assert text.returncode == REFUTED, text.stdout
    for check in ("ids", "runs", "causes", "bases", "deadletters", "serving", "generations", "promotions"):
        assert re.search(rf"^{check} +\d+ +\d+ +[1-9]\d* +REFUTED: ", text.stdout, re.M), f"{check}: {text.stdout}"
    assert re.search(r"^generations: deployments\[\d+\]@\d+ gap-1 \(p\) is generation \d+ by replace where ", text.stdout, re.M), text.stdout
    assert re.search(r"^\d+ violations$", text.stdout, re.M), text.stdout


CASES = [
    what_the_loop_made_holds,
    what_is_judged_can_be_said,
    it_is_found_as_by_the_other_commands,
    it_holds_while_events_keep_coming,
    what_is_owed_and_young_is_open,
    a_missing_artefact_is_found,
    an_artefact_with_other_bytes_is_found,
    an_old_file_that_nobody_names_is_found,
    one_id_for_two_datasets_is_found,
    a_second_result_is_found,
    an_effect_without_a_cause_is_found,
    an_effect_before_its_cause_is_found,
    a_base_that_nobody_reached_is_found,
    a_dead_letter_without_reason_is_found,
    an_instance_that_serves_something_else_is_found,
    a_gap_in_the_generations_is_found,
    all_of_it_is_told_in_one_table,
]

if __name__ == "__main__":
    with Installation("verify", env={"RELEARN_FETCH_ATTEMPTS": "1"}) as it:
        code = run(CASES, it)
    sys.exit(code)
