#!/usr/bin/env python3
"""fastavro reads what we write, and we read what fastavro writes: in both framings, with our schemas and with others that
resolve to them, where fastavro's own resolution says what should come out.

The C side is build/plain/tests/unit/test_codec_files. With RELEARN_TEST_REGISTRY (scripts/with-registry) schemas also go
through a registry, both ways.
"""
# on Kafka's side alone, once: no bus is asked, and there the registry is
import base64
import io
import itertools
import json
import math
import os
import random
import struct
import subprocess
import sys
import tempfile
import unittest
import urllib.request
from pathlib import Path

try:
    import fastavro
except ImportError:  # started outside of make: the tests' own Python has it
    venv = Path(__file__).resolve().parents[2] / os.environ.get("BUILD", "build") / "venv/bin/python"
    if not venv.exists() or os.environ.get("RELEARN_IN_VENV"):
        raise
    os.environ["RELEARN_IN_VENV"] = "1"
    os.execv(venv, [str(venv), *sys.argv])
from fastavro.schema import fingerprint, parse_schema, to_parsing_canonical_form

ROOT = Path(__file__).resolve().parents[2]
TOOL = ROOT / os.environ.get("BUILD", "build") / "plain/tests/unit/test_codec_files"
REGISTRY = os.environ.get("RELEARN_TEST_REGISTRY")
TEXTS = {p.stem: p.read_text() for p in sorted((ROOT / "schemas").glob("*.avsc"))}
SCHEMAS = {name: parse_schema(json.loads(text)) for name, text in TEXTS.items()}
SEED = 20261123


def frame(text, datum):
    """Avro's single-object encoding."""
    crc = fingerprint(to_parsing_canonical_form(json.loads(text)), "CRC-64-AVRO")
    # fastavro prints the eight bytes in the order in which they go on the wire
    return b"\xc3\x01" + bytes.fromhex(crc) + datum


def write(schema, value):
    out = io.BytesIO()
    fastavro.schemaless_writer(out, schema, value)
    return out.getvalue()


def read(schema, datum, reader=None):
    source = io.BytesIO(datum)
    value = fastavro.schemaless_reader(source, schema, reader)
    assert source.read() == b"", "bytes were left"
    return value


def definitions(schema, found=None):
    """The named types inside a schema, by name."""
    found = {} if found is None else found
    if isinstance(schema, list):
        for branch in schema:
            definitions(branch, found)
    elif isinstance(schema, dict):
        if "name" in schema:
            found[schema["name"]] = schema
        for inner in [f["type"] for f in schema.get("fields", [])] + [schema.get("items"), schema.get("values")]:
            definitions(inner, found)
    return found


def same(ours, theirs, schema, names):
    """Is a value of our JSON the one of fastavro?"""
    if isinstance(schema, list):
        inner = next(s for s in schema if s != "null")
        absent = theirs is None or (isinstance(theirs, float) and not math.isfinite(theirs))
        return ours is None if absent else same(ours, theirs, inner, names)
    schema = names.get(schema, schema) if isinstance(schema, str) else schema
    kind = schema["type"] if isinstance(schema, dict) else schema
    if kind == "record":
        if set(ours) != {f["name"] for f in schema["fields"]}:
            return False
        return all(same(ours[f["name"]], theirs[f["name"]], f["type"], names) for f in schema["fields"])
    if kind == "array":
        return len(ours) == len(theirs) and all(same(o, t, schema["items"], names) for o, t in zip(ours, theirs))
    if kind in ("double", "float"):
        if not math.isfinite(theirs):
            return ours is None
        return ours == theirs if kind == "double" else struct.pack("f", ours) == struct.pack("f", theirs)
    if kind == "bytes":
        return base64.b64decode(ours) == theirs
    return ours == theirs


def invent(rng, schema, names):
    """Any value of a schema."""
    if isinstance(schema, list):
        return invent(rng, rng.choice(schema), names)
    schema = names.get(schema, schema) if isinstance(schema, str) else schema
    kind = schema["type"] if isinstance(schema, dict) else schema
    if kind == "record":
        return {f["name"]: invent(rng, f["type"], names) for f in schema["fields"]}
    if kind == "array":
        return [invent(rng, schema["items"], names) for _ in range(rng.randrange(4))]
    if kind == "map":
        return {f"k{i}": invent(rng, schema["values"], names) for i in range(rng.randrange(3))}
    if kind == "enum":
        return rng.choice(schema["symbols"])
    if kind == "fixed":
        return rng.randbytes(schema["size"])
    return {
        "null": lambda: None,
        "boolean": lambda: rng.random() < 0.5,
        "int": lambda: rng.choice([0, 1, -1, 2**31 - 1, -(2**31)]),
        "long": lambda: rng.choice([0, -1, 63, 64, -64, -65, 2**53 + 1, 2**63 - 1, -(2**63) + 1, 1700000000000]),
        "float": lambda: rng.choice([0.0, -1.5, 0.10000000149011612, 3.4028234663852886e38, math.nan, math.inf]),
        "double": lambda: rng.choice([0.0, 0.1, -1e-300, 1.7976931348623157e308, math.nan, -math.inf]),
        "bytes": lambda: rng.randbytes(rng.randrange(5)),
        "string": lambda: rng.choice(["", "x", "electricity/nsw", "été", "日本語", "🌍" * 50, 'a "b"\n']),
    }[kind]()


def expanded(schema):
    """The same with a copy, under another name, wherever a type is used by name: fastavro does not resolve an inline
    definition against a name."""
    names = definitions(schema)
    serial = itertools.count(2)

    def walk(kind):
        if isinstance(kind, list):
            return [walk(k) for k in kind]
        if isinstance(kind, str) and kind in names:
            kind = names[kind] | {"name": f"{kind}{next(serial)}"}
        if not isinstance(kind, dict):
            return kind
        kind = dict(kind)
        if "fields" in kind:
            kind["fields"] = [f | {"type": walk(f["type"])} for f in kind["fields"]]
        if "items" in kind:
            kind["items"] = walk(kind["items"])
        return kind

    return walk(schema)


def another_version(rng, schema):
    """A schema that resolves to this one: fields left out, added, in another order, narrower, nullable the other way round;
    the same for the records inside."""
    serial = itertools.count()

    def narrowed(kind):
        return rng.choice({"long": ["int", "long"], "double": ["int", "long", "float", "double"], "float": ["int", "float"]}.get(kind, [kind]))

    def version(record):
        fields = [{"name": f["name"], "type": other(f["type"])} for f in record["fields"] if rng.random() < 0.8]
        extras = [
            {"type": "map", "values": ["null", "double"]},
            {"type": "fixed", "name": f"Fixed{next(serial)}", "size": 5},
            {"type": "enum", "name": f"Enum{next(serial)}", "symbols": ["A", "B"]},
            ["string", "null", {"type": "array", "items": {"type": "array", "items": "long"}}],
            {"type": "record", "name": f"Record{next(serial)}", "fields": [{"name": "x", "type": "boolean"}]},
            "bytes",
        ]
        fields += [{"name": f"extra_{i}", "type": t} for i, t in enumerate(rng.sample(extras, 2))]
        rng.shuffle(fields)
        return record | {"fields": fields}

    def other(kind):
        if isinstance(kind, list):
            return rng.choice([[narrowed(k) for k in kind], [narrowed(k) for k in reversed(kind)], narrowed(kind[1])])
        if isinstance(kind, dict) and kind["type"] == "array":
            return {"type": "array", "items": other(kind["items"])}
        return version(kind) if isinstance(kind, dict) else narrowed(kind)

    return version(schema)


SOURCES = {name: json.loads(text) for name, text in TEXTS.items()}
NAMES = {name: definitions(schema) for name, schema in SOURCES.items()}


def post(path, body):
    request = urllib.request.Request(
        REGISTRY + path, json.dumps(body).encode(), {"Content-Type": "application/vnd.schemaregistry.v1+json"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


class Avro(unittest.TestCase):
    def setUp(self):
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))

    def tool(self, verb, registry=None):
        subprocess.run([TOOL, verb, self.folder, *([registry] if registry else [])], check=True, timeout=120)

    def assert_same(self, name, ours, theirs, what):
        self.assertTrue(same(ours, theirs, SOURCES[name], NAMES[name]), f"{name}, {what}:\n{ours}\n{theirs}")

    def test_fastavro_reads_what_we_write(self):
        self.tool("write")
        for name, schema in SCHEMAS.items():
            for n in range(3):
                framed = (self.folder / f"{name}.{n}.bin").read_bytes()
                self.assertEqual(framed[:10], frame(TEXTS[name], b""), name)
                ours = json.loads((self.folder / f"{name}.{n}.json").read_text())
                if n == 1:  # empty: a required text travels as "", and JSON of the struct says null
                    ours = {k: "" if v is None and f["type"] == "string" else v for (k, v), f in zip(ours.items(), schema["fields"])}
                self.assert_same(name, ours, read(schema, framed[10:]), f"sample {n}")

    def test_we_read_what_fastavro_writes(self):
        rng = random.Random(SEED)
        values = {}
        for name, schema in SCHEMAS.items():
            for n in range(50):
                values[name, n] = invent(rng, SOURCES[name], NAMES[name])
                (self.folder / f"{name}.{n}.in").write_bytes(frame(TEXTS[name], write(schema, values[name, n])))
        self.tool("read")
        for (name, n), value in values.items():
            self.assert_same(name, json.loads((self.folder / f"{name}.{n}.out").read_text()), value, f"value {n}")

    def write_other_versions(self, rng, framing):
        """One other schema for each record, 20 values of it; what fastavro resolves them to."""
        resolved = {}
        for name in SCHEMAS:
            reader = expanded(SOURCES[name])
            other = another_version(rng, reader)
            text = json.dumps(other)
            writer = parse_schema(json.loads(text))
            (self.folder / f"{name}.avsc").write_text(text)
            for n in range(20):
                datum = write(writer, invent(rng, other, definitions(other)))
                (self.folder / f"{name}.{n}.in").write_bytes(framing(name, text, datum))
                resolved[name, n] = read(writer, datum, parse_schema(reader))
        return resolved

    def assert_resolved(self, resolved):
        for (name, n), value in resolved.items():
            self.assert_same(name, json.loads((self.folder / f"{name}.{n}.out").read_text()), value, f"value {n}")

    def test_other_versions_resolve_as_in_fastavro(self):
        for seed in range(5):
            resolved = self.write_other_versions(random.Random(SEED + seed), lambda name, text, datum: frame(text, datum))
            self.tool("read")
            self.assert_resolved(resolved)

    def test_enums_and_bytes_are_read_as_strings(self):
        other = json.loads(TEXTS["drift_detected"])
        for field in other["fields"]:
            if field["name"] == "kind":
                field.update(type={"type": "enum", "name": "Kind", "symbols": ["data", "later"]}, default="data")
            if field["name"] == "summary":
                field.update(type="bytes")
        value = invent(random.Random(SEED), other, definitions(other)) | {"kind": "later", "summary": "déjà".encode()}
        (self.folder / "drift_detected.avsc").write_text(json.dumps(other))
        (self.folder / "drift_detected.0.in").write_bytes(frame(json.dumps(other), write(parse_schema(other), value)))
        self.tool("read")
        ours = json.loads((self.folder / "drift_detected.0.out").read_text())
        self.assert_same("drift_detected", ours, value | {"summary": "déjà"}, "enum")

    @unittest.skipUnless(REGISTRY, "no registry: see scripts/with-registry")
    def test_fastavro_reads_what_we_write_through_the_registry(self):
        self.tool("write", REGISTRY)
        for name in SCHEMAS:
            framed = (self.folder / f"{name}.0.bin").read_bytes()
            self.assertEqual(framed[0], 0)
            with urllib.request.urlopen(f"{REGISTRY}/schemas/ids/{int.from_bytes(framed[1:5], 'big')}", timeout=30) as answer:
                writer = parse_schema(json.loads(json.load(answer)["schema"]))
            ours = json.loads((self.folder / f"{name}.0.json").read_text())
            self.assert_same(name, ours, read(writer, framed[5:]), "through the registry")

    @unittest.skipUnless(REGISTRY, "no registry: see scripts/with-registry")
    def test_we_read_what_fastavro_writes_through_the_registry(self):
        ids = {}

        def framing(name, text, datum):
            if text not in ids:
                ids[text] = post(f"/subjects/interop.other.{name}-value/versions", {"schema": text})["id"]
            return b"\0" + ids[text].to_bytes(4, "big") + datum

        resolved = self.write_other_versions(random.Random(SEED), framing)
        for name in SCHEMAS:
            (self.folder / f"{name}.avsc").unlink()
        (self.folder / "label_observed.20.in").write_bytes(b"\0\x7f\xff\xff\xff")
        self.tool("read", REGISTRY)
        self.assert_resolved(resolved)
        self.assertIn("no schema with id 2147483647", (self.folder / "label_observed.20.out").read_text())


if __name__ == "__main__":
    result = unittest.main(exit=False, verbosity=2).result
    failed, skipped = len(result.failures) + len(result.errors), len(result.skipped)
    print(f"{result.testsRun - failed - skipped} passed, {failed} failed, {skipped} skipped", flush=True)
    sys.exit(1 if failed else 0)
