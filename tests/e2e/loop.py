#!/usr/bin/env python3
"""The whole loop, as its users drive it: datasets, alerts, commands and predictions in; generations out. On the embedded bus, and
on Kafka when RELEARN_TEST_BROKERS is set. All cases share one installation; each has a pipeline of its own.
"""
# time-limit: 240
import itertools
import json
import sys
import threading

from relearn_e2e import (
    CLEAR, CLEAR_LABELS, CONTROL, Installation, Refused, header, infer_body, mislabel, pipeline, requests, rows_of, run, together,
    wait, write_csv,
)

it = None  # the installation
serial = itertools.count(1)


def csv_of(rows, columns=None):
    return write_csv(it.data / f"data-{next(serial)}.csv", rows, columns)


def begin(name, seed=1, task="binary", **parts):
    """A pipeline whose first generation serves."""
    it.apply(pipeline(name, task, **parts))
    end = it.learn(name, name, csv_of(rows_of(400, seed, task)))
    assert end["outcome"] == "promoted", end
    return it.deployment(name)


def command(line, word, **fields):
    return it.post("/v1/commands", {"line": line, "command": word, "by": "tester", **fields})["event"]


# ---- the straight way --------------------------------------------------------------------------------------------------


def a_dataset_leads_to_a_promotion():
    first = begin("straight")
    assert first["generation"] == 1 and first["action"] == "replace" and first["is_final"], first
    decision = it.decisions("straight")[0]
    assert decision["verdict"] == "promote" and decision["model"] == first["model"], decision
    served = it.serves("straight")
    assert served["model"] == first["model"] and served["sequence"] == 1, served
    answer = it.predict("straight", CLEAR)
    assert [o["data"] for o in answer["outputs"] if o["name"] == "label"] == [CLEAR_LABELS], answer
    assert answer["model_version"] == "1" and answer["parameters"]["model"] == first["model"], answer
    assert it.events("plans", "straight", kind="closed")[0]["record"]["outcome"] == "promoted"


def a_better_candidate_takes_over():
    begin("better", seed=2)
    end = it.learn("better", "better", csv_of(rows_of(1200, 3)))
    assert end["outcome"] == "promoted" and it.deployment("better")["generation"] == 2, end
    assert it.deployment("better")["against"] == 1
    assert it.predict("better", CLEAR)["model_version"] == "2"


def a_worse_candidate_is_refused_and_the_champion_stays():
    first = begin("worse", seed=4)
    end = it.learn("worse", "worse", csv_of(mislabel(rows_of(400, 5), 6)))
    assert end["outcome"] == "rejected", end
    decision = it.decisions("worse")[-1]
    rule = decision["rules"][0]
    assert decision["verdict"] == "reject" and decision["against"] == 1, decision
    assert rule["verdict"] == "fail" and rule["value"] > 0.2 and rule["severity"] == "block", rule
    assert len(it.deployments("worse")) == 1 and it.serves("worse")["generation"] == 1
    answer = it.predict("worse", CLEAR)
    assert answer["parameters"]["model"] == first["model"] and it.labels_of("worse", CLEAR) == CLEAR_LABELS, answer
    assert [h["generation"] for h in it.get("/v1/history", line="worse")] == [1]


def a_drift_alert_alone_retrains():
    begin("drift", seed=7)
    datasets = len(it.events("datasets", "drift"))
    alert = it.post("/v1/alerts", {"line": "drift", "source": "tester", "summary": "prices were capped"})["event"]
    plan = it.plan("drift", alert)["record"]
    assert plan["kind"] == "requested" and plan["trigger"] == "drift" and plan["covers"] == [alert], plan
    assert it.end_of("drift", alert)["outcome"] == "promoted"
    it.await_generation("drift", 2)
    assert len(it.events("datasets", "drift")) == datasets
    assert it.deployment("drift")["generation"] == 2


def an_alert_about_a_generation_that_is_gone_is_ignored():
    alert = it.post("/v1/alerts", {"line": "drift", "source": "tester", "generation": 1})["event"]
    plan = it.plan("drift", alert)["record"]
    assert plan["kind"] == "ignored" and "generation" in plan["reason"], plan


def what_comes_together_is_one_run():
    it.apply(pipeline("merged", plan={"quiet": "1s", "longest_wait": "10s"}))
    events = [it.publish("merged", csv_of(rows_of(300, s))) for s in (10, 11, 12)]
    snapshots = [it.snapshot("merged", e)["id"] for e in events]
    plans = {it.plan("merged", s)["id"] for s in snapshots}
    assert len(plans) == 1, plans
    assert sorted(it.plan("merged", snapshots[0])["record"]["covers"]) == sorted(snapshots)
    assert it.end_of("merged", snapshots[0])["outcome"] == "promoted"


def a_pipeline_that_is_declared_late_gets_the_newest_version():
    old = it.publish("late", csv_of(rows_of(200, 13)))
    new = it.publish("late", csv_of(rows_of(300, 14)))
    it.apply(pipeline("late"))
    snapshot = it.snapshot("late", new)
    assert snapshot["status"] == "accepted" and snapshot["rows"] == 300, snapshot
    assert it.end_of("late", snapshot["id"])["outcome"] == "promoted"
    assert not it.events("snapshots", "late", cause=old)


def many_classes_and_numbers_work():
    begin("colours", task="multiclass", seed=15, classes=["blue", "green", "red"])
    rows = [{"x1": v, "x2": 0.5, "x3": 0.5} for v in (0.1, 0.5, 0.9)]
    answer = it.predict("colours", rows)
    outputs = {o["name"]: o for o in answer["outputs"]}
    assert outputs["label"]["data"] == ["red", "green", "blue"], answer
    assert outputs["probabilities"]["shape"] == [3, 3] and answer["parameters"]["classes"] == ["blue", "green", "red"]
    begin("numbers", task="regression", seed=16, train={"window": {"snapshots": 1}, "params": {"max_depth": 4, "rounds": 60}})
    answer = it.predict("numbers", [{"x1": 0.9, "x2": 0.1, "x3": 0.5}])
    assert abs(answer["outputs"][0]["data"][0] - 2.6) < 0.3 and answer["outputs"][0]["name"] == "value", answer


def contracts_refuse_leave_out_or_warn():
    rows = rows_of(400, 17)
    broken = [r | ({"x1": 7} if i % 100 == 3 else {}) for i, r in enumerate(rows)]
    path = csv_of(broken)
    found = {}
    for word in ("reject", "quarantine", "warn"):
        name = f"contract-{word}"
        it.apply(pipeline(name, dataset="contracts", contract={
            "on_violation": word, "columns": {"x1": {"type": "float", "min": 0, "max": 1}}}))
    event = it.publish("contracts", path)
    for word in ("reject", "quarantine", "warn"):
        found[word] = it.snapshot(f"contract-{word}", event)
        rule = found[word]["violations"][0]
        assert rule["column"] == "x1" and rule["rule"] == "max" and rule["count"] == 4, found[word]
        assert rule["severity"] == word and any("7" in e for e in rule["examples"]), rule
    assert found["reject"]["status"] == "rejected" and "x1" in found["reject"]["reason"]
    assert found["quarantine"]["rows_quarantined"] == 4 and found["quarantine"]["rows"] == 396, found["quarantine"]
    assert found["warn"]["rows"] == 400 and found["warn"]["status"] == "accepted"
    ignored = it.plan("contract-reject", found["reject"]["id"])["record"]
    assert ignored["kind"] == "ignored", ignored
    for word in ("quarantine", "warn"):
        assert it.end_of(f"contract-{word}", found[word]["id"])["outcome"] == "promoted"


# ---- segments ----------------------------------------------------------------------------------------------------------


def segments_are_trained_promoted_and_served_each_by_itself():
    north, south = rows_of(300, 20), rows_of(300, 21)
    turned = [r | {"y": "no" if r["y"] == "yes" else "yes"} for r in south]  # the other way round in the south
    mixed = [r | {"city": c} for pair in zip(north, turned) for r, c in zip(pair, ("north", "south"))]
    it.apply(pipeline("cities", dataset="cities") | {"dataset": {"name": "cities", "label": "y", "segment": "city"}})
    event = it.publish("cities", csv_of(mixed))
    for line in ("cities/north", "cities/south"):
        snapshot = it.snapshot(line, event)
        assert snapshot["status"] == "accepted" and snapshot["rows"] == 300, snapshot
        assert it.end_of(line, snapshot["id"])["outcome"] == "promoted"
        it.await_generation(line, 1)
    other = ["no", "yes"]
    assert it.labels_of("cities/north", CLEAR) == CLEAR_LABELS and it.labels_of("cities/south", CLEAR) == other
    for city, labels in (("north", CLEAR_LABELS), ("south", other)):  # chosen from the row
        assert it.labels_of("cities", [r | {"city": city} for r in CLEAR]) == labels
    # what happens to one leaves the other alone
    worse = [r | {"city": "south"} for r in mislabel([r | {"y": t["y"]} for r, t in zip(south, turned)], 22)]
    fresh = [r | {"city": "north"} for r in rows_of(500, 23)]
    event = it.publish("cities", csv_of(fresh + worse))
    ends = {line: it.end_of(line, it.snapshot(line, event)["id"])["outcome"] for line in ("cities/north", "cities/south")}
    assert ends == {"cities/north": "promoted", "cities/south": "rejected"}, ends
    it.await_generation("cities/north", 2)
    assert it.serves("cities/south")["generation"] == 1


# ---- people ------------------------------------------------------------------------------------------------------------


def a_rollback_is_served_and_stays():
    first = begin("back", seed=30)
    assert it.learn("back", "back", csv_of(rows_of(900, 31)))["outcome"] == "promoted"
    assert it.deployment("back")["model"] != first["model"]
    answer = it.get("/v1/answer", id=command("back", "rollback", reason="it was better"), wait_ms=30000)
    assert answer["record"]["kind"] == "changed" and answer["record"]["generation"] == 3, answer
    assert it.await_generation("back", 3)["model"] == first["model"]
    assert it.predict("back", CLEAR)["parameters"]["model"] == first["model"]
    it.await_idle()
    for instance in ("serve-1", "deploy-1", "plan-1"):
        it.restart(instance)
    it.await_generation("back", 3)
    answer = it.predict("back", CLEAR)
    assert answer["model_version"] == "3" and answer["parameters"]["model"] == first["model"], answer
    assert it.learn("back", "back", csv_of(rows_of(1200, 32)))["outcome"] == "promoted"
    assert it.deployment("back")["generation"] == 4
    assert [h["generation"] for h in it.get("/v1/history", line="back")] == [1, 2, 3, 4]


def a_rollback_of_what_has_no_past_is_refused_with_a_reason():
    begin("no-past", seed=33)
    answer = it.get("/v1/answer", id=command("no-past", "rollback"), wait_ms=30000)["record"]
    assert answer["kind"] == "refused" and "no other model" in answer["reason"], answer
    answer = it.get("/v1/answer", id=command("nowhere", "rollback"), wait_ms=30000)["record"]
    assert answer["kind"] == "refused", answer
    assert it.command("rollback", "no-past", check=False).returncode == 1


def a_person_approves_or_rejects_or_nobody_does():
    it.apply(pipeline("asked", gate={"approval": {"manual": {"deadline": "10m"}}}))
    event = it.publish("asked", csv_of(rows_of(400, 34)))
    waits = it.event("decisions", "asked", verdict="wait")
    assert it.state("asked")["generation"] == 0 and not it.deployments("asked")
    assert it.command("approve", "asked", "--reason", "looked at it").returncode == 0
    assert it.end_of("asked", it.snapshot("asked", event)["id"])["outcome"] == "promoted"
    decision = it.decisions("asked")[-1]
    assert decision["verdict"] == "promote" and decision["run"] == waits["record"]["run"], decision
    assert "looked at it" in decision["reason"]
    it.await_generation("asked", 1)
    event = it.publish("asked", csv_of(rows_of(500, 35)))
    it.event("decisions", "asked", verdict="wait", against=1)
    command("asked", "reject", reason="not on a Friday")
    assert it.end_of("asked", it.snapshot("asked", event)["id"])["outcome"] == "rejected"
    assert "Friday" in it.decisions("asked")[-1]["reason"] and it.serves("asked")["generation"] == 1
    answer = it.get("/v1/answer", id=command("asked", "approve"), wait_ms=30000)["record"]
    assert answer["verdict"] == "refused", answer
    it.apply(pipeline("asked", gate={"approval": {"manual": {"deadline": "1s"}}}))
    event = it.publish("asked", csv_of(rows_of(600, 36)))
    assert it.end_of("asked", it.snapshot("asked", event)["id"])["outcome"] == "rejected"
    assert "in time" in it.decisions("asked")[-1]["reason"]


def a_paused_line_waits_for_resume():
    begin("paused", seed=37)
    assert it.command("pause", "paused", "--reason", "audit").returncode == 0
    event = it.publish("paused", csv_of(rows_of(700, 38)))
    snapshot = it.snapshot("paused", event)["id"]
    deferred = it.event("plans", "paused", cause=snapshot)["record"]
    assert deferred["kind"] == "deferred" and "audit" in deferred["reason"], deferred
    assert it.state("paused")["state"] == "paused"
    assert it.command("resume", "paused").returncode == 0
    assert it.end_of("paused", snapshot)["outcome"] == "promoted"


def commands_force_and_retrain_and_name_what_they_cannot():
    first = begin("forced", seed=39)
    retrain = command("forced", "retrain", reason="new tariff")
    assert it.plan("forced", retrain)["record"]["trigger"] == "command"
    assert it.end_of("forced", retrain)["outcome"] == "promoted"
    end = it.learn("forced", "forced", csv_of(mislabel(rows_of(400, 40), 41)))
    assert end["outcome"] == "rejected"
    worse = it.decisions("forced")[-1]
    answer = it.get("/v1/answer", id=command("forced", "force", target=worse["run"], reason="incident 17"), wait_ms=30000)
    assert answer["record"]["verdict"] == "promote" and "FORCED" in answer["record"]["reason"], answer
    served = it.await_generation("forced", 3)
    assert served["model"] == worse["model"] != first["model"]
    answer = it.get("/v1/answer", id=command("forced", "dance"), wait_ms=30000)["record"]
    assert answer["kind"] == "refused" and "dance" in answer["reason"], answer


def explain_leads_from_a_prediction_to_the_dataset():
    begin("why", seed=42)
    event = it.events("datasets", "why")[0]["id"]
    prediction = it.predict("why", CLEAR)["parameters"]["prediction"]
    known = wait(lambda: not_yet(lambda: it.get("/v1/explain", id=prediction)), "the prediction known to console")
    assert known["what"] == "prediction" and known["line"] == "why" and known["generation"] == 1, known
    steps = known["steps"]
    assert [s["topic"] for s in steps] == ["deployments", "decisions", "evaluations", "models", "plans", "snapshots", "datasets"]
    assert steps[-1]["id"] == event and all(a["cause"] == b["id"] for a, b in zip(steps, steps[1:])), steps
    assert all(s["correlation"] == event for s in steps) and [s["hops"] for s in steps] == [6, 5, 4, 3, 2, 1, 0]
    assert steps[1]["record"]["rules"] and steps[1]["record"]["reason"] and all(s["says"] for s in steps)
    for other in (f"{prediction}.1", steps[0]["record"]["model"], steps[4]["id"], steps[2]["id"]):
        assert it.get("/v1/explain", id=other)["steps"][-1]["id"] == event, other
    text = it.command("explain", prediction).stdout
    assert "straight" not in text and event in text and "dataset why" in text, text
    assert it.command("explain", "nothing-like-it", check=False).returncode == 1


def not_yet(ask):
    try:
        return ask()
    except Refused as e:
        if e.status != 404:
            raise
        return None


# ---- rollouts by steps -------------------------------------------------------------------------------------------------

CALM = {"window": {"predictions": 20}, "drift": {"metric": "psi", "threshold": 50}}  # two rows again and again are drift
CANARY = {"strategy": "canary", "steps": [30, 100], "interval": "300ms", "min_predictions": 30}


def ask_until(line, condition, what, label=None):
    """Requests, each labelled as label(row's generation) says, until the condition holds. Returns who answered how often."""
    roles = {}

    def once():
        answers = [it.predict(line, CLEAR) for _ in range(10)]
        for a in answers:
            key = (int(a["model_version"]), a["parameters"]["role"])
            roles[key] = roles.get(key, 0) + 1
        if label:
            it.post("/v1/labels", {"line": line, "labels": [
                {"prediction": f"{a['parameters']['prediction']}.{i}", "value": label(int(a["model_version"]), i)}
                for a in answers for i in range(len(CLEAR))]})
        return condition()

    wait(once, what)
    return roles


def a_canary_goes_by_steps():
    begin("steps", seed=50, deploy=CANARY, monitor=CALM)
    assert it.deployment("steps")["generation"] == 1, "nothing serves yet: there is nobody to share with"
    event = it.publish("steps", csv_of(rows_of(800, 51)))
    canary = it.event("deployments", "steps", action="canary_begin")["record"]
    assert [(r["role"], r["generation"]) for r in canary["routes"]] == [("champion", 1), ("canary", 2)], canary
    assert abs(canary["routes"][1]["weight"] - 0.3) < 1e-9 and not canary["is_final"]
    roles = ask_until("steps", lambda: it.events("deployments", "steps", action="promote"), "the canary's promotion")
    assert (2, "canary") in roles and (1, "champion") in roles, roles
    share = roles[2, "canary"] / (roles[2, "canary"] + roles[1, "champion"])
    assert 0.1 < share < 0.6, roles
    assert it.end_of("steps", it.snapshot("steps", event)["id"])["outcome"] == "promoted"
    it.await_generation("steps", 2)
    assert {(a["model_version"], a["parameters"]["role"]) for a in (it.predict("steps", CLEAR) for _ in range(20))} == {("2", "champion")}


def a_canary_whose_answers_are_wrong_goes_back_by_itself():
    begin("sick", seed=52, deploy=CANARY, monitor=CALM | {"quality": {"metric": "accuracy", "at_least": 0.7}})
    event = it.publish("sick", csv_of(rows_of(800, 53)))
    it.event("deployments", "sick", action="canary_begin")
    truth = [CLEAR_LABELS, CLEAR_LABELS[::-1]]  # by what is reported, the canary is always wrong
    ask_until("sick", lambda: it.events("deployments", "sick", action="rollback"), "the way back", lambda g, i: truth[g == 2][i])
    back = it.deployment("sick")
    assert back["generation"] == 3 and "degraded" in back["reason"], back
    assert it.end_of("sick", it.snapshot("sick", event)["id"])["outcome"] == "rolled_back"
    assert it.await_generation("sick", 3)["model"] == it.deployments("sick")[0]["model"]


def a_canary_is_aborted_by_a_command():
    begin("aborted", seed=54, deploy=CANARY | {"interval": "60s"})
    event = it.publish("aborted", csv_of(rows_of(800, 55)))
    it.event("deployments", "aborted", action="canary_begin")
    answer = it.get("/v1/answer", id=command("aborted", "rollback"), wait_ms=30000)["record"]
    assert answer["kind"] == "changed" and answer["routes"][0]["model"] == it.deployments("aborted")[0]["model"], answer
    assert it.end_of("aborted", it.snapshot("aborted", event)["id"])["outcome"] == "superseded"
    assert it.labels_of("aborted", CLEAR) == CLEAR_LABELS


# ---- what monitor sees -------------------------------------------------------------------------------------------------


def monitor_finds_drift_by_itself_and_the_loop_answers():
    begin("moved", seed=56, monitor={"window": {"predictions": 100}, "drift": {"metric": "psi", "threshold": 0.2, "consecutive": 2}})
    rows = rows_of(200, 57)
    usual = [{c: r[c] for c in ("x1", "x2", "x3")} for r in rows]
    it.predict("moved", usual[:100])
    calm = it.event("health", "moved", kind="window", window=0)["record"]
    assert calm["verdict"] == "ok" and calm["generation"] == 1, calm
    it.predict("moved", [r | {"x1": 0.9 + r["x1"] / 10} for r in usual])  # two windows
    alert = it.event("drift", "moved", source="monitor")
    features = [f["feature"] for f in alert["record"]["features"]]
    assert features[0] == "x1" and alert["record"]["generation"] == 1 and alert["record"]["windows"] == 2, alert
    plan = it.plan("moved", alert["id"])["record"]
    assert plan["kind"] == "requested" and plan["trigger"] == "drift", plan
    assert it.end_of("moved", alert["id"])["outcome"] == "promoted"


def labels_that_come_later_are_counted_for_their_generation():
    begin("judged", seed=58, monitor=CALM)
    answers = [it.predict("judged", CLEAR)["parameters"]["prediction"] for _ in range(10)]
    it.event("health", "judged", kind="window", window=0)
    labels = [f"{p}.{i},{'yes' if n < 2 else CLEAR_LABELS[i]}" for n, p in enumerate(answers) for i in range(2)]
    sent = it.post("/v1/labels?line=judged", "prediction,value\n" + "\n".join(labels), Content_Type="text/csv")
    assert sent["published"] == 20
    quality = it.event("health", "judged", kind="quality", window=0)["record"]
    values = {q["name"]: q["value"] for q in quality["quality"]}
    assert quality["labels"] == 20 and abs(values["accuracy"] - 0.9) < 1e-9 and quality["generation"] == 1, quality


def models_are_swapped_without_a_failed_or_mixed_request():
    """Requests all the time, while five generations take over from each other; then each answer is held against its own model."""
    begin("busy", seed=70)
    over, answers, errors = threading.Event(), [], []

    def ask(n):
        http, body = requests.Session(), json.dumps(infer_body(CLEAR))
        while not over.is_set():
            r = http.post(f"{it.url('serve-1')}/v2/models/busy/infer", data=body, timeout=30)
            (answers if r.ok else errors).append(r.json())

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(2)]
    for t in threads:
        t.start()
    for seed in range(71, 76):
        assert it.learn("busy", "busy", csv_of(rows_of(600, seed)))["outcome"] == "promoted"
    over.set()
    for t in threads:
        t.join()
    assert not errors, errors[:3]
    models = {str(d["generation"]): d["model"] for d in it.deployments("busy")}
    assert len(models) == 6 and {a["model_version"] for a in answers} == set(models), models
    own = {}  # what each model says by itself, asked by its generation
    for version in models:
        pinned = it.post(f"/v2/models/busy/versions/{version}/infer", infer_body(CLEAR), "serve-1")
        own[version] = [o["data"] for o in pinned["outputs"]]
    for a in answers:
        assert a["parameters"]["model"] == models[a["model_version"]], a
        assert [o["data"] for o in a["outputs"]] == own[a["model_version"]], (a, own[a["model_version"]])
    ids = {a["parameters"]["prediction"] for a in answers}
    assert len(ids) == len(answers)
    wait(lambda: ids <= {header(m, "ce_id") for m in it.raw("predictions")}, f"every one of {len(ids)} predictions in the topic")
    print(f"    {len(answers)} requests", flush=True)


# ---- once is once ------------------------------------------------------------------------------------------------------


def folds(instance, topic):
    """Has this instance folded events of that topic?"""
    text = it.ask("GET", lambda: f"{it.url(instance)}/metrics").text
    return f'relearn_hop_ms_count{{topic="{topic}"}}' in text


def a_duplicate_of_any_event_changes_nothing():
    line = "twice"
    it.apply(pipeline(line))
    path = csv_of(rows_of(400, 60))
    alert = {"specversion": "1.0", "id": "7", "source": "/tests", "type": "relearn.v1.DriftDetected",
             "data": {"line": line, "source": "tester", "summary": "again and again"}}
    label = {"line": line, "value": "yes"}
    sends = [
        lambda: it.post("/v1/datasets", {"dataset": line, "uri": f"file://{path}"}, Idempotency_Key="dataset"),
        lambda: it.post("/v1/events", alert, Content_Type="application/cloudevents+json"),
        lambda: it.post("/v1/commands", {"line": line, "command": "rollback", "generation": 2}, Idempotency_Key="command"),
        lambda: it.post("/v1/labels", label, Idempotency_Key="label"),
    ]
    dataset = sends[0]()["event"]
    assert it.end_of(line, it.snapshot(line, dataset)["id"])["outcome"] == "promoted"
    drift = sends[1]()["event"]
    assert it.end_of(line, drift)["outcome"] == "promoted"
    back = sends[2]()["event"]
    assert it.get("/v1/answer", id=back, wait_ms=30000)["record"]["generation"] == 3
    it.await_generation(line, 3)
    label["prediction"] = it.predict(line, CLEAR[:1])["parameters"]["prediction"]
    sends[3]()
    it.await_idle()
    before = {t: [e["id"] for e in it.events(t) if e["key"] == line] for t in CONTROL}
    counted = {i: it.metric(i, "repeated_total") for i in it.look() if i != "broker"}

    assert [s()["event"] for s in sends[:3]] == [dataset, drift, back], "the same event has the same id"
    sends[3]()
    copies = {t: [m for m in it.raw(t) if m.key() == line.encode()] for t in CONTROL}
    for topic, messages in copies.items():  # the newest first: an order in which they never were written
        it.produce(topic, [(m.key(), m.value(), m.headers(), m.partition()) for m in reversed(messages * 2)])
    copies["datasets"] += copies["datasets"][:1]  # and the ones sent over HTTP
    for instance, n in counted.items():
        expected = n + sum(2 * len(set(header(m, "ce_id") for m in ms)) for t, ms in copies.items() if folds(instance, t))
        wait(lambda i=instance, e=expected: it.metric(i, "repeated_total") >= e,
             lambda i=instance, e=expected: f"{e} repeated events at {i}, but {it.metric(i, 'repeated_total')}")
    it.await_idle()
    after = {t: [e["id"] for e in it.events(t) if e["key"] == line] for t in CONTROL}
    assert after == before, (before, after)
    assert it.serves(line)["generation"] == 3 and it.predict(line, CLEAR)["model_version"] == "3"
    together([lambda i=i: it.restart(i) for i in ("ingest-1", "plan-1", "train-1", "evaluate-1", "gate-1", "deploy-1", "serve-1")])
    it.await_idle()
    assert {t: [e["id"] for e in it.events(t) if e["key"] == line] for t in CONTROL} == before, "restored from a log with repeats"
    assert it.learn(line, line, csv_of(rows_of(900, 61)))["outcome"] == "promoted"
    assert it.deployment(line)["generation"] == 4 and it.deployment(line)["base"] == 3


# ---- the end -----------------------------------------------------------------------------------------------------------


def a_withdrawn_pipeline_serves_nothing_and_comes_back():
    begin("gone", seed=62)
    r = it.ask("DELETE", lambda: it.url("console-1") + "/v1/pipelines/gone")
    assert r.ok, r.text
    wait(lambda: it.serves("gone").get("state") == "withdrawn", lambda: f"withdrawn: {it.serves('gone')}")
    try:
        it.predict("gone", CLEAR)
        raise AssertionError("a withdrawn pipeline still answers")
    except Refused as e:
        assert e.status == 404, e
    it.apply(pipeline("gone"))
    it.await_generation("gone", 1)
    assert it.labels_of("gone", CLEAR) == CLEAR_LABELS


def everything_stands_after_down_and_up():
    it.await_idle()
    def facts():
        lines = {s["line"]: (s["generation"], s["model"]) for s in it.get("/v1/lines")}
        return lines, [(r["run"], r["state"]) for r in it.get("/v1/runs", limit=1000)], it.get("/v1/history", line="back")

    before = facts()
    it.down()
    it.up()
    wait(lambda: facts() == before, lambda: f"the same as before: {before}\n{facts()}")
    for line, (generation, model) in before[0].items():
        if generation:
            assert it.await_generation(line, generation)["model"] == model
    answer = it.predict("back", CLEAR)
    assert answer["model_version"] == "4" and it.labels_of("straight", CLEAR) == CLEAR_LABELS
    assert it.learn("straight", "straight", csv_of(rows_of(900, 63)))["outcome"] == "promoted"
    assert it.deployment("straight")["generation"] == 2
    event = it.publish("straight", csv_of(rows_of(1000, 64)))  # and down in the midst of it
    it.down()
    it.up()
    assert it.end_of("straight", it.snapshot("straight", event)["id"])["outcome"] == "promoted"
    assert it.deployment("straight")["generation"] == 3


CASES = [
    a_dataset_leads_to_a_promotion,
    a_better_candidate_takes_over,
    a_worse_candidate_is_refused_and_the_champion_stays,
    a_drift_alert_alone_retrains,
    an_alert_about_a_generation_that_is_gone_is_ignored,
    what_comes_together_is_one_run,
    a_pipeline_that_is_declared_late_gets_the_newest_version,
    many_classes_and_numbers_work,
    contracts_refuse_leave_out_or_warn,
    segments_are_trained_promoted_and_served_each_by_itself,
    a_rollback_is_served_and_stays,
    a_rollback_of_what_has_no_past_is_refused_with_a_reason,
    a_person_approves_or_rejects_or_nobody_does,
    a_paused_line_waits_for_resume,
    commands_force_and_retrain_and_name_what_they_cannot,
    explain_leads_from_a_prediction_to_the_dataset,
    a_canary_goes_by_steps,
    a_canary_whose_answers_are_wrong_goes_back_by_itself,
    a_canary_is_aborted_by_a_command,
    monitor_finds_drift_by_itself_and_the_loop_answers,
    labels_that_come_later_are_counted_for_their_generation,
    models_are_swapped_without_a_failed_or_mixed_request,
    a_duplicate_of_any_event_changes_nothing,
    a_withdrawn_pipeline_serves_nothing_and_comes_back,
    everything_stands_after_down_and_up,
]

if __name__ == "__main__":
    with Installation("loop") as it:
        code = run(CASES, it)
    sys.exit(code)
