"""A long history of an installation, written straight into its topics: whole loops, each answered and closed, so that whoever
reads it owes nothing."""
import hashlib
import time

from confluent_kafka import Producer

from installation import encoder, fail

LINES = 500
BEGAN_MS = 1767225600000  # 2026-01-01
SHA = hashlib.sha256(b"history").hexdigest()
PIPELINE = """apiVersion: relearn/v1
kind: Pipeline
name: history
dataset: {name: history, label: y, segment: s}
task: binary
"""


def ids(line, cycle):
    return {what: hashlib.sha256(f"{line} {cycle} {what}".encode()).hexdigest()[:32]
            for what in ("dataset", "snapshot", "plan", "model", "evaluation", "decision", "deployment", "closed", "window-0", "window-1")}


def loop_of(line, cycle, at_ms):
    """(topic, id, cause, record) of one loop: trained, found better, in service, two windows seen."""
    i, model = ids(line, cycle), hashlib.sha256(f"{line} {cycle}".encode()).hexdigest()
    refs = [{"snapshot": SHA, "event": i["snapshot"], "rows": 800}]
    metric = {"metric": "auc", "slice": "all", "rows": 1000, "candidate": 0.9, "champion": 0.8, "difference": 0.1, "low": 0.05,
              "high": 0.15, "higher_is_better": True}
    rule = {"rule": "auc no worse than champion by 0", "metric": "auc", "slice": "all", "value": 0.1, "threshold": 0.0,
            "verdict": "pass", "severity": "block", "reason": "auc 0.9 against 0.8"}
    yield "snapshots", i["snapshot"], i["dataset"], {
        "line": line, "pipeline": "history", "segment": line.split("/")[1], "pipeline_sha256": SHA, "dataset": "history",
        "version": str(cycle), "dataset_event": i["dataset"], "status": "accepted", "reason": "accepted: 1,000 rows", "snapshot": SHA,
        "profile": SHA, "rows": 1000, "train_rows": 800, "valid_rows": 100, "test_rows": 100}
    yield "plans", i["plan"], i["snapshot"], {
        "line": line, "kind": "requested", "base": cycle, "run": i["plan"], "trigger": "dataset", "covers": [i["snapshot"]],
        "reason": "a new snapshot", "pipeline_sha256": SHA, "snapshots": refs, "rows": 800, "deadline_unix_ms": at_ms + 3600000,
        "planned_unix_ms": at_ms}
    yield "models", i["model"], i["plan"], {
        "line": line, "run": i["plan"], "attempt": 1, "status": "candidate", "model": model, "trainer": "xgboost",
        "pipeline_sha256": SHA, "snapshots": refs, "trained_rows": 800, "valid_rows": 100, "rounds": 50, "trials": 1}
    yield "evaluations", i["evaluation"], i["model"], {
        "line": line, "run": i["plan"], "model": model, "model_event": i["model"], "status": "evaluated", "reason": "compared",
        "against": cycle, "pipeline_sha256": SHA, "snapshots": [SHA], "rows": 1000, "confidence": 0.95, "rounds": 1000,
        "metrics": [metric]}
    yield "decisions", i["decision"], i["evaluation"], {
        "line": line, "base": cycle, "run": i["plan"], "model": model, "evaluation": i["evaluation"], "model_event": i["model"],
        "verdict": "promote", "against": cycle, "reason": "promoted", "by": "policy", "pipeline_sha256": SHA, "rules": [rule],
        "decided_unix_ms": at_ms}
    yield "deployments", i["deployment"], i["decision"], {
        "line": line, "kind": "changed", "base": cycle, "generation": cycle + 1, "action": "replace", "step": 0, "steps": 0,
        "routes": [{"generation": cycle + 1, "model": model, "role": "champion", "weight": 1.0}], "run": i["plan"], "model": model,
        "decision": i["decision"], "against": cycle, "is_final": True, "reason": "in service", "by": "policy", "changed_unix_ms": at_ms}
    yield "plans", i["closed"], i["deployment"], {
        "line": line, "kind": "closed", "run": i["plan"], "outcome": "promoted", "reason": "promoted", "planned_unix_ms": at_ms}
    for window in range(2):
        yield "health", i[f"window-{window}"], None, {
            "line": line, "kind": "window", "generation": cycle + 1, "window": window, "cluster": "none", "predictions": 500,
            "verdict": "ok", "consecutive": window + 1, "reason": "as ever", "measured_unix_ms": at_ms}


def write(brokers, prefix, loops):
    """So many loops over LINES lines; returns the events by topic."""
    producer = Producer({"bootstrap.servers": brokers, "partitioner": "murmur2_random", "linger.ms": 5,
                         "queue.buffering.max.messages": 200000})
    records = {"snapshots": "dataset_ingested", "plans": "training_planned", "models": "training_finished",
               "evaluations": "model_evaluated", "decisions": "gate_decided", "deployments": "deployment_changed",
               "health": "health_measured"}
    encode = {topic: encoder(record) for topic, record in records.items()}
    written, failed = {}, []
    for n in range(loops):
        line, cycle = f"history/s{n % LINES}", n // LINES
        at_ms = BEGAN_MS + cycle * 60000
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at_ms / 1000))
        for topic, ident, cause, record in loop_of(line, cycle, at_ms):
            headers = {"ce_specversion": "1.0", "ce_id": ident, "ce_source": "/bench", "ce_time": stamp,
                       "ce_type": f"relearn.v1.{topic}", "content-type": "application/avro"}
            if cause:
                headers["ce_causationid"] = cause
            while True:
                try:
                    producer.produce(prefix + topic, key=line, value=encode[topic](record), headers=headers,
                                     on_delivery=lambda error, _: error and failed.append(error))
                    break
                except BufferError:
                    producer.poll(0.1)
            written[topic] = written.get(topic, 0) + 1
        producer.poll(0)
    if producer.flush(120) or failed:
        fail(f"the history could not be written: {failed[:3]}")
    return written
