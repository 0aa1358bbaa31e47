#!/usr/bin/env python3
"""The gate as its users see it: past decisions again (`relearn gate replay`), another policy over the same history (`relearn gate try`),
and the policies of each shape on real runs. On the embedded bus, and on Kafka when RELEARN_TEST_BROKERS is set.
"""
# time-limit: 240
import itertools
import json
import sys

import verify  # how a stray event is made
from relearn_e2e import CLEAR, Installation, mislabel, pipeline, rows_of, run, write_csv, yaml

it = None  # the installation
serial = itertools.count(1)


def csv_of(rows):
    return write_csv(it.data / f"data-{next(serial)}.csv", rows)


def begin(name, seed=1, **parts):
    it.apply(pipeline(name, **parts))
    end = it.learn(name, name, csv_of(rows_of(400, seed)))
    assert end["outcome"] == "promoted", end


def command(line, word, **fields):
    event = it.post("/v1/commands", {"line": line, "command": word, "by": "tester", **fields})["event"]
    return it.get("/v1/answer", id=event, wait_ms=30000)["record"]


def gate(*words, code=0):
    p = it.command("gate", *words, "--json", check=False)
    assert p.returncode == code, f"exit code {p.returncode}: {p.stdout}{p.stderr}"
    return json.loads(p.stdout)


def policy_file(name, **parts):
    path = it.data / f"policy-{next(serial)}.yaml"
    path.write_text(yaml.safe_dump(pipeline(name, **parts)))
    return path


# ---- again -------------------------------------------------------------------------------------------------------------


def every_decision_again_is_the_same_bytes():
    begin("again", seed=1)
    assert it.learn("again", "again", csv_of(mislabel(rows_of(400, 2), 3)))["outcome"] == "rejected"
    worse = it.decisions("again")[-1]
    assert command("again", "force", target=worse["run"], reason="incident 17")["verdict"] == "promote"
    it.await_generation("again", 2)
    assert command("again", "approve")["verdict"] == "refused"
    assert it.learn("again", "again", csv_of(rows_of(900, 4)))["outcome"] == "promoted"
    said = gate("replay", "again")
    decisions = it.events("decisions", "again")
    assert said["holds"] and said["same"] == len(decisions) >= 5, said
    one = next(e for e in decisions if e["record"]["verdict"] == "reject")
    assert one["record"]["rules"] and one["record"]["pipeline_sha256"] and one["record"]["evaluations_read"] == 2, one
    said = gate("replay", one["id"])
    assert said["same"] == 1 and len(said["decisions"]) == 1 and said["decisions"][0]["verdict"] == "reject", said
    text = it.command("gate", "replay", "again").stdout
    assert "5 decisions of again decided again: 5 the same bytes" in text, text


def a_decision_that_does_not_follow_is_named():
    verify.it = it
    begin("stray", seed=5)
    message, record = verify.records("decisions", line="stray")[0]
    headers = [(k, v) for k, v in message.headers() if k not in ("ce_id",)] + [("ce_id", b"stray-1")]
    it.produce("decisions", [(message.key(), verify.encode("decisions", record | {"base": 1, "reason": "because I say so"}), headers,
                              message.partition())])
    it.event("decisions", "stray", reason="because I say so")
    said = gate("replay", "stray", code=1)
    assert not said["holds"] and said["differs"] == 1, said
    other = next(d for d in said["decisions"] if d["result"] == "differs")
    assert other["decision"] == "stray-1" and "was" in other["what"] and "would be" in other["what"], other


def what_nobody_decided_is_said():
    p = it.command("gate", "replay", "nobody", check=False)
    assert p.returncode == 1 and "no line has a decision by this name" in p.stderr, p
    p = it.command("gate", "try", it.data / "no-file.yaml", "again", check=False)
    assert p.returncode == 1 and "no-file.yaml" in p.stderr, p
    assert it.command("gate", "dance", "again", check=False).returncode == 2


# ---- another policy ----------------------------------------------------------------------------------------------------


def another_policy_says_what_it_would_have_done_and_what_that_was_worth():
    begin("tried", seed=6, monitor={"window": {"predictions": 20}, "drift": {"metric": "psi", "threshold": 50}})
    rows = CLEAR * 10
    answer = it.predict("tried", rows)["parameters"]["prediction"]
    for i in range(20):
        it.post("/v1/labels", {"line": "tried", "prediction": f"{answer}.{i}", "value": ["yes", "no"][i % 2]})
    it.event("health", "tried", kind="quality")
    assert it.learn("tried", "tried", csv_of(mislabel(rows_of(400, 7), 8)))["outcome"] == "rejected"
    strict = policy_file("tried", gate={"min_rows": 50, "rules": [{"metric": "logloss", "at_most": 0.000001}]})
    said = gate("try", strict, "tried")
    first, second = said["decisions"]
    assert (said["judged"], said["promotions_prevented"], said["promotions_added"]) == (2, 1, 0), said
    assert (first["then"], first["now"]) == ("promote", "reject") and "logloss" in first["why"], first
    assert first["led_to"]["generation"] == 1 and first["led_to"]["accuracy"] == 1 and first["led_to"]["labels"] == 20, first
    assert (second["then"], second["now"]) == ("reject", "reject"), second
    loose = policy_file("tried", gate={"min_rows": 50, "rules": [{"metric": "logloss", "at_most": 100}]})
    said = gate("try", loose, "tried")
    assert (said["promotions_prevented"], said["promotions_added"]) == (0, 1), said
    text = it.command("gate", "try", loose, "tried").stdout
    assert "never served, so no label says" in text and "1 added" in text, text


# ---- waits -------------------------------------------------------------------------------------------------------------


def what_is_unclear_waits_for_rows_and_is_compared_on_them():
    gate_of = {"min_rows": 300, "inconclusive": {"wait": {"rows": 250, "deadline": "10m"}}, "rules": [{"metric": "logloss", "at_most": 0.6}]}
    it.apply(pipeline("rows", gate=gate_of))
    it.publish("rows", csv_of(rows_of(400, 9)))
    waits = it.event("decisions", "rows", verdict="wait")["record"]
    assert waits["waits_for"] == "rows" and waits["rows_needed"] == 250 and "100 rows are too few" in waits["reason"], waits
    assert command("rows", "approve")["verdict"] == "refused"
    later = it.publish("rows", csv_of(rows_of(1200, 10)))
    again = it.event("decisions", "rows", verdict="again")["record"]
    assert "300 more test rows" in again["reason"] and again["snapshots"] == [it.snapshot("rows", later)["snapshot"]], again
    assert it.event("decisions", "rows", verdict="promote", run=waits["run"])["record"]["rules"][0]["verdict"] == "pass"
    it.await_idle()
    first, second = [e["record"] for e in it.events("evaluations", "rows")][:2]
    assert (first["rows"], second["rows"]) == (100, 400) and first["run"] == second["run"], (first["rows"], second["rows"])
    assert gate("replay", "rows")["holds"]


def what_waits_for_rows_in_vain_ends_as_the_policy_says():
    it.apply(pipeline("vain", gate={"min_rows": 300, "inconclusive": {"wait": {"rows": 250, "deadline": "1s"}}}))
    event = it.publish("vain", csv_of(rows_of(400, 11)))
    assert it.end_of("vain", it.snapshot("vain", event)["id"])["outcome"] == "inconclusive"
    assert "0 of 250 more test rows came in time" in it.decisions("vain")[-1]["reason"]
    assert gate("replay", "vain")["holds"]


# ---- people and freezes ------------------------------------------------------------------------------------------------


def two_named_people_approve():
    who = {"manual": {"deadline": "10m", "people": {"ann": "risk", "bob": "data"}, "approvals": 2}}
    it.apply(pipeline("people", gate={"approval": who}))
    event = it.publish("people", csv_of(rows_of(400, 12)))
    it.event("decisions", "people", verdict="wait")
    p = it.command("approve", "people", "--by", "eve", check=False)
    assert p.returncode == 1 and "eve is not among those who may approve: ann (risk), bob (data)" in p.stdout + p.stderr, p
    assert it.command("approve", "people", "--by", "ann", "--reason", "looked at it", "--expires", "1h").returncode == 0
    assert it.state("people")["generation"] == 0
    assert it.command("approve", "people", "--by", "bob", "--reason", "so did I").returncode == 0
    assert it.end_of("people", it.snapshot("people", event)["id"])["outcome"] == "promoted"
    last = it.decisions("people")[-1]
    assert [(a["by"], a["role"], a["reason"]) for a in last["approvals"]] == [("ann", "risk", "looked at it"), ("bob", "data", "so did I")], last
    assert gate("replay", "people")["holds"]


def a_freeze_holds_and_force_goes_through():
    it.apply(pipeline("frozen", gate={"freeze": [{"from": "mon 00:00", "to": "sun 23:59", "why": "nobody watches"},
                                                 {"from": "sun 23:00", "to": "mon 01:00", "why": "nobody watches"}]}))
    it.publish("frozen", csv_of(rows_of(400, 13)))
    waits = it.event("decisions", "frozen", verdict="wait")["record"]
    assert waits["waits_for"] == "freeze" and waits["then"] == "promote" and "nobody watches" in waits["reason"], waits
    assert command("frozen", "approve")["verdict"] == "refused" and it.state("frozen")["generation"] == 0
    assert command("frozen", "force", target=waits["run"], reason="incident 18")["verdict"] == "promote"
    it.await_generation("frozen", 1)
    assert gate("replay", "frozen")["holds"]


def all_of_it_can_be_verified():
    it.command("reject", "frozen", check=False)  # nothing waits there any more: refused, and answered
    it.await_idle()
    p = it.command("verify", "--patience", "10s", "--json", check=False)
    assert p.returncode == 0, p.stdout[-3000:] + p.stderr


CASES = [
    every_decision_again_is_the_same_bytes,
    what_nobody_decided_is_said,
    another_policy_says_what_it_would_have_done_and_what_that_was_worth,
    what_is_unclear_waits_for_rows_and_is_compared_on_them,
    what_waits_for_rows_in_vain_ends_as_the_policy_says,
    two_named_people_approve,
    a_freeze_holds_and_force_goes_through,
    all_of_it_can_be_verified,
    a_decision_that_does_not_follow_is_named,
]


if __name__ == "__main__":
    with Installation("gate") as it:
        code = run(CASES, it)
    sys.exit(code)
