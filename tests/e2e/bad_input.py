#!/usr/bin/env python3
"""Bad input, from every side: each is refused with a clear error where its sender looks, its bytes are kept where they should be, and
everything else goes on: no agent dies of it, and the line next to it learns. On the embedded bus, and on Kafka when
RELEARN_TEST_BROKERS is set.
"""
# time-limit: 240
import base64
import gzip
import hashlib
import http.server
import io
import itertools
import json
import os
import random
import re
import socket
import sys
import threading
import time
from pathlib import Path
from urllib.parse import urlparse

import relearn_e2e  # noqa: F401: finds the tests' own Python first
import fastavro
import numpy
from fastavro.schema import fingerprint, parse_schema, to_parsing_canonical_form

from relearn_e2e import (
    CLEAR, CLEAR_LABELS, KAFKA, REGISTRY, ROOT, Installation, Refused, header, infer_body, pipeline, rows_of, run, tensor, wait,
    write_csv,
)

it = None  # the installation
web = None  # address of a server of files
serial = itertools.count(1)
BROKEN_BYTES = b"\x07garbage \x00\xff that nobody can read"


def file_of(content, name="csv"):
    path = it.data / f"bad-{next(serial)}.{name}"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def text_of(rows, columns=("x1", "x2", "x3", "y")):
    return "\n".join([",".join(columns)] + [",".join(str(r[c]) for c in columns) for r in rows]) + "\n"


GOOD = text_of(rows_of(300, 1))


class Server(http.server.BaseHTTPRequestHandler):
    """Files, and what may become of a file on its way."""

    def do_GET(self):
        body = {"/good.csv": GOOD.encode(), "/good.csv.gz": gzip.compress(GOOD.encode())}.get(self.path)
        if self.path == "/hangs.csv":
            self.send_response(200)
            self.send_header("Content-Length", str(len(GOOD)))
            self.end_headers()
            self.wfile.write(GOOD[:100].encode())
            self.wfile.flush()
            self.server.over.wait()  # the rest never comes
        elif self.path == "/cut.csv":
            self.send_response(200)
            self.send_header("Content-Length", str(len(GOOD)))
            self.end_headers()
            self.wfile.write(GOOD[:1000].encode())
        elif self.path == "/busy.csv":
            self.send_error(503)
        elif body is None:
            self.send_error(404)
        else:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, *_):
        pass


def serve_files():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
    server.daemon_threads, server.over = True, threading.Event()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


# ---- datasets ----------------------------------------------------------------------------------------------------------

CONTRACT = {"columns": {c: {"type": "float", "min": 0, "max": 1} for c in ("x1", "x2", "x3")}}


def refused(where, *words, rule=None, **fields):
    """The dataset is refused; the answer has these words, the report this rule; the line does nothing about it."""
    event = it.publish("strict", where, **fields)
    snapshot = it.snapshot("strict", event)
    shown = {k: snapshot[k] for k in ("status", "reason", "violations")}
    assert snapshot["status"] == "rejected" and snapshot["snapshot"] is None, shown
    for word in words:
        assert word.lower() in json.dumps(shown, ensure_ascii=False).lower(), f"no word of '{word}': {shown}"
    if rule:
        assert rule in [v["rule"] for v in snapshot["violations"]], shown
    assert it.plan("strict", snapshot["id"])["record"]["kind"] == "ignored"
    return snapshot


def damaged_tables_are_refused():
    it.apply(pipeline("strict", contract=CONTRACT))
    assert it.learn("strict", "strict", file_of(GOOD))["outcome"] == "promoted"
    lines = GOOD.splitlines()
    refused(file_of("\n".join(lines[:50] + ["0.1,0.2"] + lines[50:])), "row 50", rule="csv")  # ragged
    refused(file_of("\n".join(lines[:50] + ["0.1,0.2,0.3,yes,0.5"] + lines[50:])), "row 50", rule="csv")
    refused(file_of(GOOD + '0.1,"0.2,0.3,yes\n' + "\n".join(lines[1:20])), "quote")  # open to the end
    refused(file_of(GOOD.replace("yes", "y\0es", 1)), "nul")
    refused(file_of(GOOD.replace("\n" + lines[7], "\nabc,0.2,0.3,yes", 1)), "x1", "abc", "row 7")  # a number that is none
    refused(file_of(GOOD.replace("\n" + lines[7], "\n1e999,0.2,0.3,yes", 1)), "x1", "row 7")
    refused(file_of(GOOD.replace("\n" + lines[9], "\n7,0.2,0.3,yes", 1)), "x1", "7", rule="max")
    refused(file_of(""), "empty")
    refused(file_of(lines[0] + "\n"), "row")
    refused(file_of(GOOD.encode().replace(b"yes", b"\xff\xfe", 1)), "utf-8")
    refused(file_of(GOOD.replace("x3", "x2", 1)), "x2")  # a name twice


def labels_that_cannot_be_learned_are_refused():
    lines = GOOD.splitlines()
    refused(file_of(GOOD.replace(",y\n", ",z\n", 1)), "y", "label")  # no such column
    refused(file_of(GOOD.replace("\n" + lines[3], "\n" + lines[3].rsplit(",", 1)[0] + ",", 1)), "label")  # an empty cell
    refused(file_of(re.sub("yes|no", "yes", GOOD)), "label")  # constant
    refused(file_of(GOOD.replace("yes", "perhaps", 3)), "label")  # a third class
    refused(file_of("\n".join(line.rsplit(",", 2)[0] + "," + line.rsplit(",", 1)[1] for line in lines)), "x3")  # lacks a column


def what_was_not_published_so_is_refused():
    path, right = file_of(GOOD), hashlib.sha256(GOOD.encode()).hexdigest()
    refused(path, "sha256", sha256=right[:-1] + ("0" if right[-1] != "0" else "1"), rule="digest")
    refused(path, "size", size_bytes=len(GOOD) + 1, rule="size")
    refused(path, "299", rows=299, rule="rows")
    refused(it.data / "nowhere.csv", "nowhere.csv", rule="fetch")
    refused(it.data, "file", rule="fetch")  # a folder
    try:
        it.publish("strict", path, format="parquet")
        raise AssertionError("a format that nobody reads was taken")
    except Refused as e:
        assert e.status == 400 and "parquet" in e.body, e
    good = it.publish("strict", path, sha256=right, size_bytes=len(GOOD), rows=300)
    assert it.snapshot("strict", good)["status"] == "accepted"


def a_fetch_that_fails_is_refused():
    refused(f"{web}/missing.csv", "404", rule="fetch")
    refused(f"{web}/busy.csv", "503", rule="fetch")
    refused(f"{web}/cut.csv", rule="fetch")
    start = time.monotonic()
    refused(f"{web}/hangs.csv", rule="fetch")
    assert time.monotonic() - start < 30, "a server that hangs is waited for no longer than its option says"
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        refused(f"http://127.0.0.1:{closed.getsockname()[1]}/x.csv", rule="fetch")
    for path in ("good.csv", "good.csv.gz"):
        assert it.snapshot("strict", it.publish("strict", f"{web}/{path}"))["status"] == "accepted"


def a_file_that_changes_while_it_is_read_is_refused():
    path, over = write_csv(it.data / "growing.csv", rows_of(200, 2) * 2000), threading.Event()

    def touch():
        while not over.is_set():
            os.utime(path)

    thread = threading.Thread(target=touch)
    thread.start()
    try:
        refused(path, "changed while it was read", rule="fetch")
    finally:
        over.set()
        thread.join()


def damaged_arrays_are_refused():
    def npy(array):
        out = io.BytesIO()
        numpy.save(out, array)
        return out.getvalue()

    def npz(**arrays):
        out = io.BytesIO()
        numpy.savez(out, **arrays)
        return out.getvalue()

    x = numpy.random.default_rng(1).random((200, 3))
    y = numpy.where(x[:, 0] + x[:, 1] > 1, "yes", "no")
    whole = npz(features=x, label=y, columns=numpy.array(["x1", "x2", "x3"]))
    assert it.snapshot("strict", it.publish("strict", file_of(whole, "npz")))["status"] == "accepted"
    refused(file_of(whole[:len(whole) // 2], "npz"))
    refused(file_of(npz(features=x), "npz"), "label")
    refused(file_of(npz(features=x, label=y[:-1], columns=numpy.array(["x1", "x2", "x3"])), "npz"), "rows")
    refused(file_of(npy(x)[:100], "npy"))
    refused(file_of(b"\x93NUMPY\x01\x00\xff\xff" + b"{" * 100, "npy"))
    refused(file_of(npy(numpy.array([{"a": 1}], dtype=object)), "npy"), "dtype")
    refused(file_of(gzip.compress(GOOD.encode())[:-20], "csv.gz"))
    bomb = it.data / "bomb.csv.gz"
    bomb.write_bytes(gzip.compress(compresslevel=1, data=b"x1,x2,x3,y\n" + b"0" * (101 << 20)))
    refused(bomb)


def the_command_line_says_it_too():
    p = it.command("publish", "strict", file_of(GOOD.replace("yes", "y\0es", 1)), check=False)
    assert p.returncode == 1 and "nul" in (p.stdout + p.stderr).lower(), (p.returncode, p.stdout, p.stderr)
    p = it.command("publish", "strict", it.data / "nowhere.csv", check=False)
    assert p.returncode == 1 and "nowhere.csv" in p.stderr, p.stderr
    assert it.command("publish", "strict", check=False).returncode == 2
    assert it.command("publisch", check=False).returncode == 2
    assert it.command("predict", "strict", "x1=0.5", check=False).returncode == 1


# ---- pipelines ---------------------------------------------------------------------------------------------------------


def mistakes_in_a_pipeline_are_told_with_their_line():
    good = "apiVersion: relearn/v1\nkind: Pipeline\nname: wrong\ndataset: {name: wrong, label: y}\ntask: binary\n"
    for text, *words in (
        (good + "train:\n  parms: {max_depth: 3}\n", "7", "parms"),
        (good + "deploy: {strategy: canary, steps: [10, 5]}\n", "6", "steps"),
        (good + "monitor:\n  window:\n    predictions: -1\n", "8", "predictions"),
        (good + "gate: {rules: [{metric: auc, at_least: 3}]}\n", "6", "at_least"),
        (good + "plan: {quiet: fast}\n", "6", "quiet"),
        (good.replace("binary", "binaer"), "5", "binaer"),
        (good.replace("name: wrong\n", "name: Wrong!\n", 1), "3", "Wrong!"),
        (good.replace("task: binary\n", ""), "task"),
        ("a: [1, 2\n", "2"),
        ("\x00\x01", ""),
        ("- just\n- a list\n", ""),
        ("&a [*a, *a]\n", ""),
        (good + "name: again\n", "6", "name"),
    ):
        try:
            it.post("/v1/pipelines", text, Content_Type="application/yaml")
            raise AssertionError(f"taken:\n{text}")
        except Refused as e:
            assert e.status == 400 and all(w in e.body for w in words), (text, e)
    path = file_of(good + "train:\n  parms: {max_depth: 3}\n", "yaml")
    p = it.command("apply", path, check=False)
    assert p.returncode == 1 and "7" in p.stderr and "parms" in p.stderr, p.stderr
    try:
        it.post("/v1/pipelines", good + "#" * (300 << 10), Content_Type="application/yaml")
        raise AssertionError("taken: 300 KiB")
    except Refused as e:
        assert e.status in (400, 413), e
    assert "wrong" not in [p["pipeline"] for p in it.get("/v1/pipelines")]


# ---- the console -------------------------------------------------------------------------------------------------------


def requests_that_say_too_little_or_too_much_are_refused():
    for path, body, *words in (
        ("/v1/datasets", {"dataset": "strict"}, "uri"),
        ("/v1/datasets", {"dataset": "strict", "uri": "ftp://x/y.csv"}, "ftp"),
        ("/v1/datasets", {"dataset": "STRICT", "uri": "file:///x"}, "dataset"),
        ("/v1/datasets", {"dataset": "strict", "uri": "file:///x", "sha256": "123"}, "sha256"),
        ("/v1/datasets", {"dataset": "strict", "uri": "file:///x", "colour": "red"}, "colour"),
        ("/v1/datasets", {"dataset": "strict", "uri": 7}, "uri"),
        ("/v1/datasets", "{\"dataset\": \"strict\", ", ""),
        ("/v1/datasets", "[" * 100000, ""),
        ("/v1/datasets", "\xff\xfe".encode("latin-1"), ""),
        ("/v1/datasets", "[]", "object"),
        ("/v1/commands", {"line": "strict"}, "command"),
        ("/v1/commands", {"line": "../etc", "command": "pause"}, "line"),
        ("/v1/alerts", {"source": "me"}, "line"),
        ("/v1/labels", {"line": "strict", "value": "yes"}, "prediction"),
        ("/v1/labels", {"line": "strict", "labels": [{"prediction": "p.0", "value": "yes"}, {"prediction": "p.1"}]}, "value"),
        ("/v1/labels", {"line": "strict", "labels": 7}, "labels"),
        ("/v1/alerts/alertmanager", {"version": "3", "alerts": []}, "version"),
        ("/v1/alerts/alertmanager", {"version": "4"}, "alerts"),
        ("/v1/alerts/alertmanager", {"version": "4", "alerts": [{"labels": {"alertname": "X"}}]}, "line"),
        ("/v1/events", {"specversion": "0.3", "id": "1", "source": "/x", "type": "t", "data": {}}, ""),
    ):
        try:
            it.post(path, body, **({"Content_Type": "application/cloudevents+json"} if path == "/v1/events" else {}))
            raise AssertionError(f"taken by {path}: {str(body)[:200]}")
        except Refused as e:
            assert e.status == 400 and all(w in e.body for w in words) and json.loads(e.body)["error"], (path, body, e)
    for path, status in (("/v1/nothing", 404), ("/v1/explain?id=x", 404), ("/v1/history?line=none", 404),
                         ("/v1/events?limit=many", 400), ("/v1/datasets", 405)):
        try:
            it.get(path)
            raise AssertionError(f"an answer to {path}")
        except Refused as e:
            assert e.status == status, (path, e)


def exchange(instance, data, seconds=0.3):
    """Raw bytes to an endpoint; the first line of what comes back, "" when it hangs up, or waits for what never comes."""
    where = urlparse(it.url(instance))
    with socket.create_connection((where.hostname, where.port), timeout=seconds) as s:
        try:
            s.sendall(data)
            s.shutdown(socket.SHUT_WR)
            answer = s.recv(65536)
        except OSError:
            return ""
    return answer.split(b"\r\n")[0].decode("latin-1")


def malformed_and_oversized_http_hurts_nobody():
    for instance in ("console-1", "serve-1"):
        post = b"POST /v1/datasets HTTP/1.1\r\nHost: x\r\n"
        for data in (
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 200,  # TLS
            b"GET\r\n\r\n",
            b"GET / HTTP/9.9\r\n\r\n",
            b"\r\n" * 1000,
            b"\x00" * 5000,
            b"GET /" + b"a" * 100000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
            b"GET / HTTP/1.1\r\n" + b"X: " + b"y" * 200000 + b"\r\n\r\n",
            b"GET /%zz%00 HTTP/1.1\r\nHost: x\r\n\r\n",
            post + b"Content-Length: -1\r\n\r\n",
            post + b"Content-Length: 99999999999999999999\r\n\r\n",
            post + b"Content-Length: 10\r\nContent-Length: 20\r\n\r\n0123456789",
            post + b"Content-Length: 1000\r\n\r\n{",  # the rest never comes
            post + b"Transfer-Encoding: chunked\r\n\r\nZZZ\r\nabc\r\n",
            post + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nabc\r\n",
        ):
            answer = exchange(instance, data)
            assert not answer or not answer.startswith("HTTP/1.1 2"), (instance, data[:60], answer)
        assert exchange(instance, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 30).startswith("HTTP/1.1 200"), instance
    for instance, path, size in (("console-1", "/v1/labels", 65 << 20), ("serve-1", "/v2/models/strict/infer", 17 << 20)):
        try:
            it.post(path, b"[" + b" " * size, instance)
            raise AssertionError(f"{instance} took {size} bytes")
        except Refused as e:
            assert e.status == 413, (instance, e)
        except wait.__globals__["requests"].ConnectionError:
            pass  # it hung up while we were sending


# ---- predictions -------------------------------------------------------------------------------------------------------


def wrong_tensors_are_named():
    good = infer_body(CLEAR)

    def inputs(*tensors):
        return {"inputs": list(tensors)}

    def changed(**fields):
        return {"inputs": [good["inputs"][0] | fields, *good["inputs"][1:]]}

    matrix = {"name": "all", "shape": [1, 3], "datatype": "FP32", "data": [0.1, 0.2, 0.3]}
    for body, *words in (
        (changed(shape=[3, 1]), "x2", "3"),
        (changed(shape=[2, 2]), "x1"),
        (changed(shape=[-1, 1]), "shape"),
        (changed(shape=[1e12, 1]), "shape"),
        (changed(shape=[]), "shape"),
        (changed(shape=[2, 1, 1]), "shape"),
        (changed(shape="2"), "shape"),
        (changed(datatype="FP128"), "FP128"),
        (changed(data=["a", "b"]), "x1"),
        (changed(data=[0.9]), "x1"),
        (changed(data=[[0.9], [0.1, 0.2]]), "x1"),
        (changed(data={"a": 1}), "data"),
        (changed(data=[True, {}]), "x1"),
        (changed(datatype="UINT8", data=[0.5, 300]), "x1"),
        (changed(name="colour"), "colour"),
        (inputs(*good["inputs"][1:]), "x1"),
        (inputs(*good["inputs"], good["inputs"][0]), "x1"),
        (inputs(*good["inputs"][:2], tensor("x3", [0.5])), "x3"),
        (inputs(), "input"),
        ({}, "inputs"),
        ({"inputs": 7}, "inputs"),
        (inputs(matrix | {"shape": [1, 4], "data": [1, 2, 3, 4]}), "4"),
        (inputs(matrix | {"parameters": {"binary_data_size": 12}}), "binary_data_size"),
        (good | {"outputs": [{"name": "colour"}]}, "colour"),
        (good | {"id": 7}, "id"),
        (good | {"id": "x" * 1000}, "id"),
        ("not json at all", ""),
        ("[" * 200000, ""),
        ('{"inputs": [' + '{"name": "x1", ' * 1000, ""),
        ("", ""),
    ):
        try:
            answer = it.post("/v2/models/strict/infer", body, "serve-1")
            raise AssertionError(f"answered: {str(body)[:300]}: {answer}")
        except Refused as e:
            assert e.status == 400 and all(w in e.body for w in words) and json.loads(e.body)["error"], (str(body)[:200], words, e)
    assert it.labels_of("strict", CLEAR) == CLEAR_LABELS
    missing = it.predict("strict", [{"x1": 0.9, "x2": None, "x3": 0.5}])  # null is no mistake
    assert len(missing["outputs"][0]["data"]) == 1


def binary_tensors_that_lie_are_refused():
    head = {"name": "all", "shape": [2, 3], "datatype": "FP32"}
    for size, raw, length in ((24, b"\0" * 23, None), (25, b"\0" * 25, None), (10**18, b"\0" * 24, None), (-1, b"", None),
                              (24, b"\0" * 24, "9" * 30), (24, b"\0" * 24, "-5"), (24, b"\0" * 24, "100000"), (24, b"\0" * 24, "3")):
        text = json.dumps({"inputs": [head | {"parameters": {"binary_data_size": size}}]}).encode()
        try:
            it.post("/v2/models/strict/infer", text + raw, "serve-1", Inference_Header_Content_Length=length or str(len(text)))
            raise AssertionError(f"answered: {size} {len(raw)} {length}")
        except Refused as e:
            assert e.status == 400 and json.loads(e.body)["error"], e
    text = json.dumps({"inputs": [{"name": "x1", "shape": [1, 1], "datatype": "BYTES", "parameters": {"binary_data_size": 8}}]}).encode()
    try:
        it.post("/v2/models/strict/infer", text + b"\xff\xff\xff\xffabcd", "serve-1", Inference_Header_Content_Length=str(len(text)))
        raise AssertionError("answered: a text of 4 GiB")
    except Refused as e:
        assert e.status == 400, e


def unknown_models_are_unknown():
    for path, status in (
        ("/v2/models/nobody/infer", 404), ("/v2/models/strict/versions/99/infer", 404), ("/v2/models/strict/versions/x/infer", 404),
        ("/v2/models/strict%2Fnorth/infer", 404), ("/v2/models//infer", 404), ("/v2/models/" + "n" * 5000 + "/infer", 404),
        ("/v2/nothing", 404), ("/v2/models/strict", 405), ("/v2/health/live", 405),
    ):
        try:
            it.post(path, infer_body(CLEAR), "serve-1")
            raise AssertionError(f"an answer from {path}")
        except Refused as e:
            assert e.status == status and json.loads(e.body)["error"], (path, e)
    for path in ("/v2/models/nobody", "/v2/models/nobody/ready", "/v2/models/strict/versions/99"):
        try:
            it.get(path, "serve-1")
            raise AssertionError(f"an answer from {path}")
        except Refused as e:
            assert e.status == 404, (path, e)


# ---- records -----------------------------------------------------------------------------------------------------------

WORKERS = {  # topics that outsiders or accidents may put something into, and who works on them
    "datasets": {"ingest"}, "snapshots": {"plan"}, "drift": {"plan"}, "commands": {"plan", "gate", "deploy"}, "plans": {"train"},
    "models": {"plan", "evaluate"}, "evaluations": {"gate"}, "decisions": {"plan", "evaluate", "deploy"},
    "deployments": {"plan", "gate"}, "health": {"deploy"}, "predictions": {"monitor"}, "labels": {"monitor"},
}
SCHEMAS = {p.stem: json.loads(p.read_text()) for p in (ROOT / "schemas").glob("*.avsc")}


def framed(name, value):
    out = io.BytesIO()
    fastavro.schemaless_writer(out, parse_schema(SCHEMAS[name]), value)
    return b"\xc3\x01" + print_of(SCHEMAS[name]) + out.getvalue()


def print_of(schema):
    return bytes.fromhex(fingerprint(to_parsing_canonical_form(schema), "CRC-64-AVRO"))


def letters(offset_of):
    """Dead letters by the ce_id of what they are about, with their bytes."""
    found = {}
    for one in it.get("/v1/deadletters", limit=1000):
        if one["event"] in offset_of:
            found[one["event"]] = it.get(f"/v1/deadletters/{one['id']}")["record"] | {"letter": one["id"]}
    return found


def await_letters(sent):
    """sent: ce_id -> (topic, bytes). Each is a dead letter with its bytes, its key and its headers."""
    found = wait(lambda: len(f := letters(sent)) == len(sent) and f, lambda: f"dead letters of {set(sent) - set(letters(sent))}")
    for event, (topic, value) in sent.items():
        letter = found[event]
        kept = base64.b64decode(letter["value"]) if letter["value"] else b""
        assert kept == value, f"{event}: {len(kept)} bytes are kept of {len(value)}"
        assert letter["topic"] == it.prefix + topic and letter["agent"] in WORKERS[topic] and letter["reason"], letter
        assert base64.b64decode(letter["key"]) == b"strict", letter
        assert event.encode() in [base64.b64decode(h["value"]) for h in letter["headers"]], letter["headers"]
    return found


def send(sent):
    for event, (topic, value) in sent.items():
        it.produce(topic, [("strict", value, [("ce_id", event.encode())], None)])


def undecodable_records_go_aside_with_their_bytes():
    sent = {f"garbage-{topic}": (topic, BROKEN_BYTES) for topic in WORKERS}
    right = framed("dataset_published", {"dataset": "strict", "uri": "file:///x.csv"})
    sent |= {
        "truncated": ("datasets", right[:-3]),
        "longer": ("datasets", right + b"and more"),
        "empty": ("datasets", b""),
        "marker-only": ("labels", b"\xc3\x01"),
        "unknown-print": ("labels", b"\xc3\x01" + b"\xaa" * 8 + b"xyz"),
        "huge-length": ("labels", b"\xc3\x01" + print_of(SCHEMAS["label_observed"]) + b"\xff" * 9 + b"\x01"),
        "another-type": ("datasets", framed("label_observed", {"line": "strict", "prediction": "p", "value": "yes"})),
        "another-type-too": ("labels", right),
        "not-utf-8": ("datasets", right.replace(b"file:///x.csv", b"\xff\xfe\xfd\xfc///x.csv"[:13])),
    }
    send(sent)
    found = await_letters(sent)
    assert "LabelObserved" in found["another-type"]["reason"] and "DatasetPublished" in found["another-type"]["reason"]
    text = it.command("deadletters", "--limit", "50").stdout
    assert "datasets" in text, text
    letter = found["truncated"]["letter"]
    try:
        it.post(f"/v1/deadletters/{letter}/resend", {})
        raise AssertionError("sent back, though nobody can read it")
    except Refused as e:
        assert e.status == 409, e


def unknown_schema_ids_go_aside():
    sent = {"unknown-id": ("datasets", b"\0\x7f\xff\xff\xf0" + b"xyz"), "zero": ("labels", b"\0")}
    send(sent)
    found = await_letters(sent)
    assert "schema" in found["unknown-id"]["reason"], found["unknown-id"]["reason"]


def records_that_are_too_large_go_aside():
    rng = random.Random(9)
    sizes = {"large": ("datasets", 900_000), "nearly-a-megabyte": ("labels", 1_048_000)}
    if not KAFKA:  # which refuses to take these, as its sender is told
        sizes |= {"four-mebibytes": ("drift", (4 << 20) - 100), "over-the-limit": ("commands", (4 << 20) + 100_000)}
    sent = {name: (topic, b"\xc3\x01" + rng.randbytes(n)) for name, (topic, n) in sizes.items()}
    for event, (topic, value) in sent.items():  # one by one: the embedded bus holds 5 MiB of dead letters
        it.produce(topic, [("strict", value, [("ce_id", event.encode())], None)], **{"message.max.bytes": 8_000_000})
        if len(value) < 4_000_000:
            await_letters({event: sent[event]})
            continue
        letter = wait(lambda e=event: letters([e]).get(e), f"a dead letter of {event}")
        begun = base64.b64decode(letter["value"])
        assert len(begun) > 1_000_000 and sent[event][1].startswith(begun), f"{event}: {len(begun)} bytes are kept"
        assert str(len(sent[event][1])) in letter["reason"], letter["reason"]


def records_that_make_no_sense_are_answered():
    """Well-formed, and still nothing that can be done."""
    odd = {"dataset": "strict", "uri": "gopher://x/y"}
    it.produce("datasets", [("strict", framed("dataset_published", odd), [("ce_id", b"gopher")], None)])
    snapshot = it.snapshot("strict", "gopher")
    assert snapshot["status"] == "rejected" and "gopher" in snapshot["reason"], snapshot
    alert = it.post("/v1/alerts", {"line": "nowhere/at-all", "source": "me"})["event"]
    plan = it.plan("nowhere/at-all", alert)["record"]  # after a grace, in which it might be declared
    assert plan["kind"] == "ignored" and "not declared" in plan["reason"], plan
    command = it.post("/v1/commands", {"line": "nowhere", "command": "pause"})["event"]
    assert it.get("/v1/answer", id=command, wait_ms=30000)["record"]["kind"] == "refused"
    before = it.metric("monitor-1", "labels_total")
    it.post("/v1/labels", {"line": "strict", "prediction": "never-made", "value": "yes"})
    prediction = it.predict("strict", CLEAR)["parameters"]["prediction"]
    it.post("/v1/labels", {"line": "strict", "prediction": f"{prediction}.0", "value": "purple"})
    it.post("/v1/labels", {"line": "strict", "prediction": f"{prediction}.77", "value": "yes"})
    it.post("/v1/labels", {"line": "strict", "prediction": f"{prediction}.1", "value": "no"})
    wait(lambda: it.metric("monitor-1", "labels_total") > before, "the one good label")


# ---- afterwards --------------------------------------------------------------------------------------------------------


def everything_else_went_on():
    assert all(c["restarts"] == 0 for c in it.look().values()), [(i, c["restarts"]) for i, c in it.look().items()]
    generation = it.deployment("strict")["generation"]
    assert it.learn("strict", "strict", file_of(text_of(rows_of(900, 5))))["outcome"] == "promoted"
    assert it.deployment("strict")["generation"] == generation + 1
    assert it.labels_of("strict", CLEAR) == CLEAR_LABELS
    it.await_idle()
    for instance in ("ingest-1", "plan-1", "monitor-1"):
        it.restart(instance)
    it.await_idle()
    assert it.learn("strict", "strict", file_of(text_of(rows_of(950, 6))))["outcome"] == "promoted"


CASES = [
    damaged_tables_are_refused,
    labels_that_cannot_be_learned_are_refused,
    what_was_not_published_so_is_refused,
    a_fetch_that_fails_is_refused,
    a_file_that_changes_while_it_is_read_is_refused,
    damaged_arrays_are_refused,
    the_command_line_says_it_too,
    mistakes_in_a_pipeline_are_told_with_their_line,
    requests_that_say_too_little_or_too_much_are_refused,
    malformed_and_oversized_http_hurts_nobody,
    wrong_tensors_are_named,
    binary_tensors_that_lie_are_refused,
    unknown_models_are_unknown,
    undecodable_records_go_aside_with_their_bytes,
    unknown_schema_ids_go_aside,
    records_that_are_too_large_go_aside,
    records_that_make_no_sense_are_answered,
    everything_else_went_on,
]

if __name__ == "__main__":
    server = serve_files()
    web = f"http://127.0.0.1:{server.server_address[1]}"
    env = {"RELEARN_FETCH_STALL": "2s", "RELEARN_FETCH_ATTEMPTS": "2", "RELEARN_FETCH_RETRY": "200ms", "RELEARN_MAX_BYTES": "100MiB"}
    with Installation("bad", ["--registry", REGISTRY] if REGISTRY else [], env) as it:
        code = run(CASES, it)
    server.over.set()
    sys.exit(code)
