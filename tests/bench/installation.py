"""An installation to measure: started and stopped by `relearn`, its events read and written by Python's own Kafka client."""
import io
import json
import os
import shutil
import signal
import subprocess
import time
import uuid
from datetime import datetime, timezone
from pathlib import Path

import fastavro
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Producer, TopicPartition
from fastavro.schema import fingerprint, parse_schema, to_parsing_canonical_form

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / os.environ.get("BUILD", "build")
BIN = BUILD / "bin"
PROGRAMS = BUILD / "plain/tests/bench"
WORK = Path(os.environ.get("RELEARN_BENCH_DIR", "/tmp/relearn-bench"))
CHAIN = ["datasets", "snapshots", "plans", "models", "evaluations", "decisions", "deployments", "serving"]


def fail(text):
    raise SystemExit(f"bench: {text}")


def run(*command, **options):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, check=False, **options)
    if done.returncode:
        fail(f"{' '.join(str(c) for c in command)}: exit {done.returncode}: {done.stderr[-2000:] or done.stdout[-2000:]}")
    return done.stdout


def make_rows(path, *arguments):
    """A CSV by tests/bench/rows, kept from run to run."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(f"{path}.tmp", "wb") as out:
            subprocess.run([PROGRAMS / "rows", *[str(a) for a in arguments]], stdout=out, check=True)
        os.rename(f"{path}.tmp", path)
    return path


def encoder(record):
    """What turns values of a record into Avro's single-object encoding; members that are left out have their defaults."""
    schema = json.loads((ROOT / "schemas" / f"{record}.avsc").read_text())
    head = b"\xc3\x01" + bytes.fromhex(fingerprint(to_parsing_canonical_form(schema), "CRC-64-AVRO"))
    parsed = parse_schema(schema)

    def encode(value):
        out = io.BytesIO(head)
        out.seek(0, io.SEEK_END)
        fastavro.schemaless_writer(out, parsed, value)
        return out.getvalue()

    return encode


def frame(record, value):
    return encoder(record)(value)


class Installation:
    """`relearn up` in a folder of its own, gone when the block ends."""

    def __init__(self, brokers=None, prefix=None, options=()):
        self.data = WORK / f"up-{uuid.uuid4().hex[:8]}"
        self.prefix = prefix or f"bench{uuid.uuid4().hex[:6]}."
        self.options = ["--data", self.data, "--prefix", self.prefix, *options]
        if brokers:
            self.options += ["--brokers", brokers]
        self.brokers = brokers
        self.up_s = None

    def __enter__(self):
        started = time.monotonic()
        said = json.loads(run(BIN / "relearn", "up", "--json", *self.options))
        self.up_s = time.monotonic() - started
        self.brokers = said["brokers"]
        self.look()
        return self

    def __exit__(self, *_):
        subprocess.run([BIN / "relearn", "down", "--data", self.data], capture_output=True, check=False)
        shutil.rmtree(self.data, ignore_errors=True)

    def look(self):
        """The instances as they are now."""
        self.instances = json.loads(run(BIN / "relearn", "status", "--json", "--data", self.data))["instances"]
        return self.instances

    def await_ready(self, seconds=120):
        end = time.monotonic() + seconds
        while any(i["state"] != "ready" for i in self.look()):
            if time.monotonic() > end:
                fail(f"not ready: {[(i['instance'], i['state']) for i in self.instances]}")
            time.sleep(0.05)

    def kill_agents(self):
        """All but the bus are gone, and the supervisor, whose process id is returned, is held so that it starts none."""
        supervisor = json.loads((self.data / "run/installation.json").read_text())["pid"]
        os.kill(supervisor, signal.SIGSTOP)
        for i in self.instances:
            if i["agent"] != "broker":
                os.kill(i["pid"], signal.SIGKILL)
        return supervisor

    def pid(self, agent):
        return next(i["pid"] for i in self.instances if i["agent"] == agent)

    def url(self, agent):
        return next(i["url"] for i in self.instances if i["agent"] == agent)

    def ready_ms(self):
        """By agent, from its own log: start of the process to ready."""
        found = {}
        for log in sorted((self.data / "log").glob("*.log")):
            for line in log.read_text(errors="replace").splitlines():
                if "agent.ready" in line:
                    found[log.stem.rsplit("-", 1)[0]] = int(line.split("ms=")[1].split()[0])
        return found

    def apply(self, text):
        path = self.data / "pipeline.yaml"
        path.write_text(text)
        run(BIN / "relearn", "apply", path, "--data", self.data)


class Bus:
    """Reads the headers of every control event of an installation, writes DatasetPublished."""

    def __init__(self, installation):
        self.prefix = installation.prefix
        common = {"bootstrap.servers": installation.brokers, "socket.nagle.disable": True}
        self.producer = Producer({**common, "linger.ms": 0, "partitioner": "murmur2_random"})
        self.consumer = Consumer({**common, "group.id": "bench", "enable.auto.commit": False,
                                  "auto.offset.reset": "earliest"})
        topics = self.consumer.list_topics(timeout=10).topics
        self.consumer.assign([TopicPartition(self.prefix + topic, p, OFFSET_BEGINNING)
                              for topic in CHAIN for p in topics[self.prefix + topic].partitions])
        self.events = {}  # topic, cause -> event

    def close(self):
        self.producer.flush(5)
        self.consumer.close()

    def publish(self, dataset, path):
        """Returns the event's id and its time in microseconds."""
        ident = uuid.uuid4().hex
        value = frame("dataset_published", {
            "dataset": dataset, "version": None, "uri": f"file://{path}", "format": None, "sha256": None, "size_bytes": None,
            "rows": None, "by": "bench", "published_unix_ms": None})
        now = time.time_ns() // 1000
        stamp = datetime.fromtimestamp(now / 1e6, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        self.producer.produce(self.prefix + "datasets", key=dataset, value=value, headers={
            "ce_specversion": "1.0", "ce_id": ident, "ce_source": "/bench", "ce_type": "relearn.v1.DatasetPublished",
            "ce_time": stamp, "content-type": "application/avro"})
        self.producer.poll(0)
        return ident, now

    def take(self, seconds):
        message = self.consumer.poll(seconds)
        if message is None:
            return
        if message.error():
            if message.error().code() != KafkaError._PARTITION_EOF:
                fail(f"bus: {message.error()}")
            return
        headers = {name: value.decode() for name, value in message.headers() or []}
        at = datetime.fromisoformat(headers["ce_time"].replace("Z", "+00:00"))
        topic = message.topic()[len(self.prefix):]
        event = {"id": headers["ce_id"], "us": int(at.timestamp() * 1e6)}
        self.events.setdefault((topic, headers.get("ce_causationid")), event)

    def follow(self, ident, timeout_s, last="serving"):
        """The chain of causes from an event to `last`, as (topic, microseconds) pairs."""
        chain, cause, deadline = [], ident, time.monotonic() + timeout_s
        for topic in CHAIN[1:CHAIN.index(last) + 1]:
            while (topic, cause) not in self.events:
                if time.monotonic() > deadline:
                    fail(f"no event on {topic} within {timeout_s} s; so far: {[t for t, _ in chain]}")
                self.take(0.2)
            event = self.events[topic, cause]
            chain.append((topic, event["us"]))
            cause = event["id"]
        return chain
