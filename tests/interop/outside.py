#!/usr/bin/env python3
"""Clients that are not ours: confluent-kafka with its registry client and fastavro, kcat, Alertmanager's webhook, the CloudEvents
SDK, and a client of the Open Inference Protocol, whose answers XGBoost itself confirms. On Kafka; what needs a schema registry
(scripts/with-registry) says so when there is none.
"""
# time-limit: 180
import base64
import io
import itertools
import json
import re
import struct
import subprocess
import sys
import warnings
import zlib
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))
from relearn_e2e import (  # noqa: E402
    CLEAR, CLEAR_LABELS, KAFKA, REGISTRY, ROOT, TOPICS, Installation, Skip, header, mislabel, pipeline, rows_of, run, wait, write_csv,
)

import fastavro  # noqa: E402
import numpy  # noqa: E402
import requests  # noqa: E402
import xgboost  # noqa: E402
from cloudevents.conversion import to_binary, to_structured  # noqa: E402
from cloudevents.http import CloudEvent  # noqa: E402
from fastavro.schema import fingerprint, parse_schema, to_parsing_canonical_form  # noqa: E402
from test_avro import definitions, same  # noqa: E402

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of a package that it uses
    from confluent_kafka import SerializingProducer
    from confluent_kafka.schema_registry import SchemaRegistryClient
    from confluent_kafka.schema_registry.avro import AvroSerializer
    from confluent_kafka.serialization import StringSerializer

SOURCES = {p.stem: json.loads(p.read_text()) for p in sorted((ROOT / "schemas").glob("*.avsc"))}
BY_NAME = {s["name"]: s for s in SOURCES.values()}
serial = itertools.count(1)
it = plain = None  # installations: with the registry, and without one


def csv_of(rows, columns=None):
    return write_csv(it.data / f"data-{next(serial)}.csv", rows, columns)


def needs_registry():
    if not REGISTRY:
        raise Skip("no registry: see scripts/with-registry")


# ---- a producer of datasets --------------------------------------------------------------------------------------------

# A schema of their own: the record's name is ours, the rest is not: another namespace, fewer fields in another order, one that we
# do not know, an enum where we have a text, an int where we have a long.
THEIRS = {
    "type": "record", "name": "DatasetPublished", "namespace": "com.example.lake",
    "fields": [
        {"name": "uri", "type": "string"},
        {"name": "dataset", "type": "string"},
        {"name": "format", "type": {"type": "enum", "name": "Format", "symbols": ["parquet", "csv"]}},
        {"name": "rows", "type": ["int", "null"]},
        {"name": "owner", "type": ["null", "string"], "default": None},
    ],
}


def murmur2(data):
    """As Java's clients choose a partition."""
    m, h = 0x5BD1E995, 0x9747B28C ^ len(data)
    for i in range(0, len(data) // 4 * 4, 4):
        k = struct.unpack_from("<I", data, i)[0] * m & 0xFFFFFFFF
        h = (h * m & 0xFFFFFFFF) ^ ((k ^ k >> 24) * m & 0xFFFFFFFF)
    tail = data[len(data) // 4 * 4:]
    if tail:
        h = (h ^ int.from_bytes(tail, "little")) * m & 0xFFFFFFFF
    h = (h ^ h >> 13) * m & 0xFFFFFFFF
    return (h ^ h >> 15) & 0x7FFFFFFF


def elsewhere(word):
    """A name that librdkafka's default partitioner (CRC-32) puts on another partition than ours."""
    return next(
        name for name in (f"{word}{n}" for n in range(1000))
        if zlib.crc32(name.encode()) % it.partitions != murmur2(name.encode()) % it.partitions
    )


def an_event_of_the_registrys_own_client_starts_the_loop():
    needs_registry()
    name, rows = elsewhere("lake"), rows_of(400, 1)
    it.apply(pipeline(name))
    producer = SerializingProducer({
        "bootstrap.servers": it.bus,
        "key.serializer": StringSerializer("utf_8"),
        "value.serializer": AvroSerializer(SchemaRegistryClient({"url": REGISTRY}), json.dumps(THEIRS)),
    })
    value = {"dataset": name, "uri": f"file://{csv_of(rows)}", "format": "csv", "rows": 400, "owner": "the lake"}
    producer.produce(f"{it.prefix}datasets", key=name, value=value)
    assert producer.flush(30) == 0
    event = it.event("datasets", name)
    assert event["record"]["format"] == "csv" and event["record"]["rows"] == 400 and event["record"]["by"] in (None, ""), event
    snapshot = it.snapshot(name, event["id"])
    assert snapshot["status"] == "accepted" and snapshot["rows"] == 400, snapshot
    assert it.end_of(name, snapshot["id"])["outcome"] == "promoted"
    it.await_generation(name, 1)
    assert it.labels_of(name, CLEAR) == CLEAR_LABELS
    found = [m for m in it.raw("datasets") if m.key() == name.encode()]
    theirs, ours = zlib.crc32(name.encode()) % it.partitions, murmur2(name.encode()) % it.partitions
    assert sorted(m.partition() for m in found) == sorted([theirs, ours]), "forwarded once to where it belongs"
    assert found[0].value() == found[1].value() and found[0].value()[:1] == b"\0"
    moved = next(m for m in found if m.partition() == ours)
    assert header(moved, "ce_id") == event["id"], moved.headers()
    assert len(it.events("snapshots", name)) == 1 and len(it.events("datasets", name)) == 1


def an_event_in_single_object_encoding_starts_the_loop():
    name = elsewhere("plain")
    it.apply(pipeline(name))
    schema = SOURCES["dataset_published"]
    out = io.BytesIO()
    value = {"dataset": name, "uri": f"file://{csv_of(rows_of(300, 2))}"}
    fastavro.schemaless_writer(out, parse_schema(schema), value)
    body = b"\xc3\x01" + single_object(schema) + out.getvalue()
    it.produce("datasets", [(name, body, [("ce_id", b"outside-1"), ("ce_source", b"/lake")], None)])
    assert it.event("datasets", name)["id"] == "outside-1"
    assert it.end_of(name, it.snapshot(name, "outside-1")["id"])["outcome"] == "promoted"


def single_object(schema):
    return bytes.fromhex(fingerprint(to_parsing_canonical_form(schema), "CRC-64-AVRO"))


def a_schema_that_we_do_not_know_is_found_in_the_store():
    """Without a registry: writers of another version leave their schemas where the artefacts are, as our agents do."""
    name, store = elsewhere("other"), plain.data / "artifacts" / "schemas"
    kept = {p.stem: json.loads(p.read_text()) for p in store.glob("*.avsc")}
    assert {s["name"] for s in kept.values()} == set(BY_NAME), kept.keys()
    assert all(single_object(s).hex() == print_ for print_, s in kept.items())
    plain.apply(pipeline(name))
    out = io.BytesIO()
    value = {"uri": f"file://{csv_of(rows_of(300, 3))}", "dataset": name, "format": "csv", "rows": 300, "owner": None}
    fastavro.schemaless_writer(out, parse_schema(THEIRS), value)
    body = b"\xc3\x01" + single_object(THEIRS) + out.getvalue()
    letters = len(plain.raw("deadletters"))
    plain.produce("datasets", [(name, body, [("ce_id", b"other-1"), ("ce_source", b"/lake")], None)])
    wait(lambda: len(plain.raw("deadletters")) > letters, "an unknown schema goes aside")
    (store / f"{single_object(THEIRS).hex()}.avsc").write_text(json.dumps(THEIRS))
    plain.produce("datasets", [(name, body, [("ce_id", b"other-2"), ("ce_source", b"/lake")], None)])
    assert plain.event("datasets", name)["id"] == "other-2"
    assert plain.snapshot(name, "other-2")["status"] == "accepted"


# ---- alerts and events over HTTP ---------------------------------------------------------------------------------------


def alertmanager(line, status="firing", starts="2026-11-20T09:30:00.000Z", **labels):
    """What Alertmanager 0.27 posts, version 4."""
    alert = {
        "status": status,
        "labels": {"alertname": "PriceFeedFrozen", "severity": "warning", "line": line, **labels},
        "annotations": {"summary": "the price feed has not moved for an hour", "description": "vicprice is constant"},
        "startsAt": starts, "endsAt": "0001-01-01T00:00:00Z", "generatorURL": "http://prometheus:9090/graph?g0.expr=x",
        "fingerprint": "d5e9dbc2b7f1a3c4",
    }
    return {
        "receiver": "relearn", "status": status, "alerts": [alert], "groupLabels": {"alertname": "PriceFeedFrozen"},
        "commonLabels": alert["labels"], "commonAnnotations": alert["annotations"], "externalURL": "http://alertmanager:9093",
        "version": "4", "groupKey": '{}:{alertname="PriceFeedFrozen"}', "truncatedAlerts": 0,
    }


def served(name, seed):
    it.apply(pipeline(name))
    assert it.learn(name, name, csv_of(rows_of(400, seed)))["outcome"] == "promoted"


def an_alertmanager_webhook_retrains():
    served("watched", 3)
    sent = it.post("/v1/alerts/alertmanager", alertmanager("watched"))
    assert sent["published"] == 1, sent
    assert it.plan("watched", sent["event"])["record"]["trigger"] == "drift"
    assert it.end_of("watched", sent["event"])["outcome"] == "promoted"
    said = it.event("drift", "watched")["record"]
    assert said["source"] == "alertmanager" and "price feed" in said["summary"] and said["statistic"] == "PriceFeedFrozen", said
    again = it.post("/v1/alerts/alertmanager", alertmanager("watched"))  # as it repeats while it fires
    assert again["event"] == sent["event"]
    assert it.post("/v1/alerts/alertmanager", alertmanager("watched", "resolved"))["published"] == 0
    later = it.post("/v1/alerts/alertmanager", alertmanager("watched", starts="2026-11-21T09:30:00.000Z"))
    assert later["event"] != sent["event"] and it.end_of("watched", later["event"])["outcome"] == "promoted"
    assert it.deployment("watched")["generation"] == 3 and len(it.events("drift", "watched")) == 2


def the_cloudevents_sdk_is_understood_in_both_modes():
    it.apply(pipeline("clouds"))
    attributes = {"type": "relearn.v1.DatasetPublished", "source": "https://example.com/lake", "id": "A-1"}
    data = {"dataset": "clouds", "uri": f"file://{csv_of(rows_of(400, 4))}"}
    headers, body = to_structured(CloudEvent(attributes, data))
    r = requests.post(f"{it.url('console-1')}/v1/events", headers=headers, data=body, timeout=30)
    assert r.ok, r.text
    event = r.json()["event"]
    assert it.end_of("clouds", it.snapshot("clouds", event)["id"])["outcome"] == "promoted"
    headers, body = to_binary(CloudEvent({**attributes, "type": "drift.detected", "id": "A-2"}, {"line": "clouds"}))
    headers.setdefault("content-type", "application/json")
    r = requests.post(f"{it.url('console-1')}/v1/events", headers=headers, data=body, timeout=30)
    assert r.ok, r.text
    assert it.end_of("clouds", r.json()["event"])["outcome"] == "promoted"
    assert it.event("drift", "clouds")["record"]["line"] == "clouds"
    r = requests.post(f"{it.url('console-1')}/v1/events", headers=headers, data=body, timeout=30)
    assert r.ok and r.json()["event"] == it.event("drift", "clouds")["id"], "source and id are what is unique"


# ---- predictions -------------------------------------------------------------------------------------------------------


def exported(line):
    """The model in service, as its manifest says, and XGBoost's own booster of its file."""
    def path(digest):
        return it.data / "artifacts/sha256" / digest[:2] / digest[2:]

    manifest = json.loads(path(it.deployment(line)["model"]).read_text())
    booster = xgboost.Booster()
    booster.load_model(bytearray(path(manifest["file"]["sha256"]).read_bytes()))
    return manifest, booster


def expect(manifest, booster, rows):
    """XGBoost's own answers to rows of JSON values."""
    def cell(column, value):
        if value is None:
            return numpy.nan
        return column["categories"].index(value) if column["type"] == "category" else value

    x = numpy.array([[cell(c, r[c["name"]]) for c in manifest["columns"]] for r in rows], dtype=numpy.float32)
    kinds = ["c" if c["type"] == "category" else "q" for c in manifest["columns"]]
    return booster.predict(xgboost.DMatrix(x, feature_types=kinds, enable_categorical=True)), x


def infer(line, body, **headers):
    r = requests.post(f"{it.url('serve-1')}/v2/models/{line}/infer", data=body, headers=headers, timeout=30)
    assert r.ok, r.text
    return r


def infer_binary(line, tensors, output):
    """JSON, and the tensors' bytes behind it; the answer likewise."""
    raw = [a.tobytes() for _, _, _, a in tensors]
    inputs = [
        {"name": n, "shape": shape, "datatype": t, "parameters": {"binary_data_size": len(b)}}
        for (n, t, shape, _), b in zip(tensors, raw)
    ]
    head = json.dumps({"inputs": inputs, "outputs": [{"name": output, "parameters": {"binary_data": True}}]}).encode()
    r = infer(line, head + b"".join(raw), **{
        "Inference-Header-Content-Length": str(len(head)), "Content-Type": "application/octet-stream"})
    n = int(r.headers["Inference-Header-Content-Length"])
    told = json.loads(r.content[:n])["outputs"][0]["parameters"]["binary_data_size"]
    assert told == len(r.content) - n
    return numpy.frombuffer(r.content[n:], dtype=numpy.float64)


def predictions_equal_xgboosts_own():
    for task, output in (("binary", "probability"), ("multiclass", "probabilities"), ("regression", "value")):
        name = f"own-{task}"
        rows = [r | {"place": ("north", "south", "east")[i % 3]} for i, r in enumerate(rows_of(600, 5, task))]
        for r in rows[::17]:
            r["x3"] = None
        columns = {"place": {"type": "category"}}
        it.apply(pipeline(name, task, contract={"columns": columns}, train={"params": {"max_depth": 5, "rounds": 40}}))
        assert it.learn(name, name, csv_of(rows, ["x1", "place", "x2", "x3", "y"]))["outcome"] == "promoted"
        manifest, booster = exported(name)
        assert [c["name"] for c in manifest["columns"]] == ["x1", "place", "x2", "x3"], manifest["columns"]
        asked = [{c: r[c] for c in ("x1", "place", "x2", "x3")} for r in rows[:200]]
        own, x = expect(manifest, booster, asked)
        answer = it.predict(name, asked)
        ours = next(o for o in answer["outputs"] if o["name"] == output)
        assert ours["shape"] == [200, own.shape[1] if own.ndim > 1 else 1], ours["shape"]
        difference = numpy.abs(numpy.array(ours["data"]).reshape(own.shape) - own).max()
        assert difference <= 1e-6, (task, difference)
        if task != "regression":  # the label is the likeliest class
            best = own.argmax(axis=1) if task == "multiclass" else (own > 0.5).astype(int)
            labels = next(o["data"] for o in answer["outputs"] if o["name"] == "label")
            assert labels == [manifest["classes"][k] for k in best]
        # the same as raw bytes: float32, and texts with their lengths before them
        place = numpy.frombuffer(b"".join(struct.pack("<I", len(r["place"])) + r["place"].encode() for r in asked), numpy.uint8)
        tensors = [(c, "FP32", [200, 1], x[:, k]) for k, c in enumerate(("x1", "place", "x2", "x3")) if c != "place"]
        raw = infer_binary(name, [*tensors, ("place", "BYTES", [200, 1], place)], output)
        assert numpy.abs(raw.reshape(own.shape) - own).max() <= 1e-6, task
        version = requests.get(f"{it.url('serve-1')}/v2/models/{name}", timeout=30).json()
        assert version["versions"] == ["1"] and [i["name"] for i in version["inputs"]] == ["x1", "place", "x2", "x3"], version


def one_tensor_of_all_columns_is_taken_too():
    served("matrix", 6)
    manifest, booster = exported("matrix")
    rows = rows_of(150, 7)
    own, x = expect(manifest, booster, rows)
    raw = infer_binary("matrix", [("input-0", "FP32", [150, 3], x)], "probability")
    assert numpy.abs(raw - own).max() <= 1e-6
    body = {"id": "a request", "inputs": [{"name": "predict", "shape": [150, 3], "datatype": "FP32", "data": x.flatten().tolist()}]}
    answer = infer("matrix", json.dumps(body)).json()
    assert answer["id"] == "a request" and numpy.abs(numpy.array(answer["outputs"][0]["data"]) - own).max() <= 1e-6
    nested = body | {"inputs": [body["inputs"][0] | {"data": x.tolist()}]}
    answer = infer("matrix", json.dumps(nested)).json()
    assert numpy.abs(numpy.array(answer["outputs"][0]["data"]) - own).max() <= 1e-6


# ---- every record that we write ----------------------------------------------------------------------------------------


def busy(where):
    """Something for every topic."""
    name = "every"
    where.apply(pipeline(name, train={"params": {"rounds": 300}}, monitor={"window": {"predictions": 20}}))
    where.learn(name, name, write_csv(where.data / "a.csv", rows_of(3000, 8)))
    where.learn(name, name, write_csv(where.data / "b.csv", mislabel(rows_of(400, 9), 10)))
    where.post("/v1/alerts", {"line": name, "source": "tester", "value": 0.5, "summary": "mögliche Drift"})
    command = where.post("/v1/commands", {"line": name, "command": "rollback", "by": "tester"})["event"]
    where.get("/v1/answer", id=command, wait_ms=30000)
    prediction = where.predict(name, CLEAR * 10)["parameters"]["prediction"]
    where.post("/v1/labels", {"line": name, "labels": [{"prediction": f"{prediction}.{i}", "value": "yes"} for i in range(20)]})
    where.event("health", name, kind="quality")
    where.produce("labels", [(name, b"no Avro at all", [("ce_id", b"broken")], None)])
    wait(lambda: where.get("/v1/deadletters"), "a dead letter")
    wait(lambda: where.raw("progress"), "progress of a training")
    where.await_idle()


def check_records(where, schema_of, magic):
    """Every record of every topic: framed so, decoded by fastavro, equal to what console says of it; its headers in order."""
    told = {e["id"]: e for e in where.events()}
    compared = {t: 0 for t in TOPICS}
    for topic in TOPICS:
        found = where.raw(topic)
        assert found, f"nothing in {topic}"
        for m in found:
            if m.value() == b"no Avro at all":
                continue
            headers = {k: v.decode() for k, v in m.headers()}
            schema, datum = schema_of(m.value())
            assert m.value()[:len(magic)] == magic, m.value()[:8]
            source = io.BytesIO(datum)
            value = fastavro.schemaless_reader(source, parse_schema(schema))
            assert not source.read(), f"bytes are left in {topic}"
            name = schema["name"]
            assert headers["ce_type"] == f"relearn.v1.{name}" and headers["ce_specversion"] == "1.0", headers
            assert headers["content-type"] == "application/avro" and headers["ce_subject"] == m.key().decode(), headers
            assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", headers["traceparent"]), headers
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", headers["ce_time"]), headers
            assert headers["ce_source"], headers
            ours = told.pop(headers["ce_id"], None)  # the first of an id is the one that counts
            if ours:
                compared[topic] += 1
                assert same(ours["record"], value, BY_NAME[name], definitions(BY_NAME[name])), (ours["record"], value)
                assert ours["cause"] == headers.get("ce_causationid") and ours["correlation"] == headers["ce_correlationid"]
            elif topic == "predictions":
                assert value["prediction"] == headers["ce_id"] and value["rows"] * value["outputs_per_row"] == len(value["outputs"])
                compared[topic] += 1
    silent = {t for t, n in compared.items() if not n} - {"pipelines", "labels", "progress"}  # these are in no list of console
    assert not silent, f"console says nothing of {silent}"


def fastavro_reads_every_record_in_confluents_framing():
    needs_registry()
    busy(it)
    schemas = {}

    def schema_of(value):
        number = int.from_bytes(value[1:5], "big")
        if number not in schemas:
            schemas[number] = json.loads(requests.get(f"{REGISTRY}/schemas/ids/{number}", timeout=30).json()["schema"])
        return schemas[number], value[5:]

    known = requests.get(f"{REGISTRY}/subjects", timeout=30).json()
    assert {f"{it.prefix}{t}-value" for t in TOPICS} <= set(known), known
    outside = [m for m in it.raw("datasets") if header(m, "ce_type") is None or header(m, "ce_id") == "outside-1"]
    assert len(outside) <= 4  # of other cases: not ours to check
    check_records(Filtered(it, outside), schema_of, b"\0")


class Filtered:
    """An installation without some messages."""

    def __init__(self, of, without):
        self.of, self.without = of, {(m.topic(), m.partition(), m.offset()) for m in without}

    def events(self):
        return self.of.events()

    def raw(self, topic):
        return [m for m in self.of.raw(topic) if (m.topic(), m.partition(), m.offset()) not in self.without]


def fastavro_reads_every_record_in_single_object_encoding():
    prints = {bytes.fromhex(fingerprint(to_parsing_canonical_form(s), "CRC-64-AVRO")): s for s in SOURCES.values()}
    busy(plain)
    check_records(plain, lambda value: (prints[value[2:10]], value[10:]), b"\xc3\x01")


def kcat_shows_readable_headers():
    p = subprocess.run(
        ["kcat", "-C", "-e", "-q", "-b", plain.bus, "-t", f"{plain.prefix}decisions", "-f", "%k | %h\\n"],
        capture_output=True, text=True, timeout=60)
    lines = p.stdout.splitlines()
    assert lines and all(line.startswith("every | ") and line.isprintable() for line in lines), p.stdout + p.stderr
    for word in ("ce_id=", "ce_source=/relearn/gate/gate-1", "ce_type=relearn.v1.GateDecided", "ce_subject=every",
                 "content-type=application/avro", "traceparent=00-", "ce_causationid=", "ce_correlationid=", "ce_hops=", "ce_seen="):
        assert word in lines[0], (word, lines[0])


def dead_letters_keep_the_bytes_for_anybody():
    letter = plain.get(f"/v1/deadletters/{plain.get('/v1/deadletters')[0]['id']}")["record"]
    assert base64.b64decode(letter["value"]) == b"no Avro at all", letter
    assert letter["topic"].endswith("labels") and letter["agent"] == "monitor" and letter["reason"], letter


if __name__ == "__main__":
    if not KAFKA:
        print("no Kafka: see scripts/with-kafka")
        sys.exit(77)
    with Installation("outside", ["--registry", REGISTRY] if REGISTRY else []) as it, Installation("framed") as plain:
        code = run([
            an_event_of_the_registrys_own_client_starts_the_loop,
            an_event_in_single_object_encoding_starts_the_loop,
            an_alertmanager_webhook_retrains,
            the_cloudevents_sdk_is_understood_in_both_modes,
            predictions_equal_xgboosts_own,
            one_tensor_of_all_columns_is_taken_too,
            fastavro_reads_every_record_in_confluents_framing,
            fastavro_reads_every_record_in_single_object_encoding,
            kcat_shows_readable_headers,
            dead_letters_keep_the_bytes_for_anybody,
            a_schema_that_we_do_not_know_is_found_in_the_store,
        ], it)
    sys.exit(code)
