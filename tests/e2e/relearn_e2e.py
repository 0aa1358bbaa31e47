"""What the tests of the whole system share: an installation in a folder of its own, what it can be asked, data and pipelines,
and a runner.

The bus is the embedded one, or with RELEARN_TEST_BROKERS a Kafka, under a topic prefix of its own. Nothing here waits for a
time: wait() looks until a condition holds, and says what it looked for when its patience ends. Only processes that were
started here are ended, by their ids.
"""
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import urllib.parse
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / os.environ.get("BUILD", "build")

try:
    import confluent_kafka
    import numpy
    import requests
    import yaml
except ImportError:  # started outside of make: the tests' own Python has them
    VENV = BUILD / "venv/bin/python"
    if not VENV.exists() or os.environ.get("RELEARN_IN_VENV"):
        raise
    os.environ["RELEARN_IN_VENV"] = "1"
    os.execv(VENV, [str(VENV), *sys.argv])

BIN = Path(os.environ.get("RELEARN_BIN") or BUILD / "bin").resolve()
KAFKA = os.environ.get("RELEARN_TEST_BROKERS") or None
REGISTRY = os.environ.get("RELEARN_TEST_REGISTRY") or None
PATIENCE_S = 60 * int(os.environ.get("TIME_FACTOR") or 1)
LOOK_S = 0.02

AGENTS = ["ingest", "plan", "train", "evaluate", "gate", "deploy", "serve", "monitor", "console"]
CONTROL = ["datasets", "snapshots", "drift", "commands", "plans", "models", "evaluations", "decisions", "deployments", "health"]
TOPICS = ["pipelines", *CONTROL, "serving", "predictions", "labels", "progress", "deadletters"]


class Skip(Exception):
    """A case that cannot run here; its text says why."""


def wait(condition, what, seconds=None):
    """The first true value of condition(). what: text, or a function that says what there is instead."""
    end = time.monotonic() + (seconds or PATIENCE_S)
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"never came: {what() if callable(what) else what}")
        time.sleep(LOOK_S)


def alive(pid):
    """Runs; one that has ended and is not waited for by its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")")[-1].split()[0] != "Z"
    except OSError:
        return False


class Refused(Exception):
    """An answer over HTTP that is not 2xx."""

    def __init__(self, status, body):
        super().__init__(f"{status}: {body}")
        self.status, self.body = status, body


class Installation:
    """`relearn up` in a folder of its own.  options: further words for `up`; env: further variables, which agents see too."""

    def __init__(self, name, options=(), env=None, brokers=KAFKA, partitions=None):
        self.name, self.options, self.brokers = name, list(options), brokers
        self.data = Path(tempfile.mkdtemp(prefix=f"relearn-e2e-{name}-"))
        self.prefix = f"{name}-{random.SystemRandom().randrange(16**6):06x}." if brokers else "relearn."
        self.partitions = partitions or (3 if brokers else 12)  # a Kafka is slow to make many
        self.http = requests.Session()
        self.clean = {k: v for k, v in os.environ.items() if not k.startswith("RELEARN_") or k == "RELEARN_LIBEXEC"}
        self.env = self.clean | (env or {})
        self.extra = []  # processes beside those of the supervisor
        self.programs = BIN
        self.is_up, self.supervisor = False, None
        self.read_anew()

    def read_anew(self):
        """What console has told is forgotten: after a bus that was killed, some of it may never have been."""
        self.log, self.told, self.seq = [], set(), 0

    # ---- life

    def command(self, *words, check=True, stdin=None, seconds=PATIENCE_S * 2):
        """One command of `relearn`; returns the finished process."""
        p = subprocess.run(
            [self.programs / "relearn", *map(str, words), "--data", self.data],
            env=self.env, input=stdin, capture_output=True, text=True, timeout=seconds,
        )
        if check and p.returncode:
            raise AssertionError(f"relearn {' '.join(map(str, words))}: exit code {p.returncode}: {p.stdout}{p.stderr}")
        return p

    def up(self):
        words = ["up", "--json", "--prefix", self.prefix, "--partitions", self.partitions, *self.options]
        if self.brokers:
            words += ["--brokers", self.brokers]
        self.read_anew()
        found = json.loads(self.command(*words).stdout)
        self.is_up = True
        self.supervisor, self.bus = found["pid"], found["brokers"]
        self.control = json.loads((self.data / "run/installation.json").read_text())["control"]
        self.look()
        return self

    def down(self):
        self.end_extra()
        self.command("down")
        self.is_up = False

    def end_extra(self):
        for p in self.extra:
            p.kill()
            p.wait()
        self.extra.clear()

    def close(self):
        """Nothing of it is left."""
        try:
            self.end_extra()
            if self.is_up:
                self.down()
        finally:
            if self.supervisor and alive(self.supervisor):
                for child in self.status()["instances"]:
                    if child["pid"]:
                        os.kill(child["pid"], signal.SIGKILL)
                os.kill(self.supervisor, signal.SIGKILL)
            shutil.rmtree(self.data, ignore_errors=True)

    def __enter__(self):
        try:
            return self.up()
        except BaseException:
            self.tell()
            self.close()
            raise

    def __exit__(self, kind, error, trace):
        if error and not isinstance(error, Skip):
            self.keep_logs()
        self.close()

    def keep_logs(self):
        """Of a test that failed, where the other logs of the tests are."""
        kept = BUILD / "test-logs" / self.data.name
        shutil.copytree(self.data / "log", kept, dirs_exist_ok=True)
        print(f"    the agents' logs: {kept}", flush=True)

    def tell(self, lines=6):
        """What each log warns of, the end of it, for a test that failed."""
        for path in sorted((self.data / "log").glob("*.log")):
            text = [s for s in path.read_text(errors="replace").splitlines() if not re.match(r"\S+ info ", s)]
            for line in text[-lines:]:
                print(f"    {path.stem}: {line[:300]}", flush=True)

    # ---- processes

    def status(self):
        return self.http.get(f"{self.control}/status", timeout=30).json()

    def look(self):
        """Where everything answers now: addresses change when an instance is started again."""
        self.instances = {c["instance"]: c for c in self.status()["instances"]}
        return self.instances

    def url(self, instance):
        return self.instances[instance]["url"]

    def pid(self, instance):
        return self.look()[instance]["pid"]

    def kill(self, instance, sig=signal.SIGKILL):
        pid = self.pid(instance)
        if pid:
            os.kill(pid, sig)
        return pid

    def await_ready(self, *instances):
        """All of them, or those that are named, are up; in particular those that were killed."""

        def ready():
            now = self.look()
            return all(now[i]["state"] == "ready" and alive(now[i]["pid"]) for i in instances or now)

        wait(ready, lambda: f"ready: {[(i, c['state']) for i, c in self.look().items()]}")

    def restart(self, instance):
        """kill -9, and up again."""
        before = self.look()[instance]["restarts"]
        self.kill(instance)
        wait(lambda: self.look()[instance]["restarts"] > before, f"{instance} noticed as dead")
        self.await_ready(instance)

    def lose_state(self, instance):
        """kill -9, its state folder deleted, and up again. The supervisor is held meanwhile, so that nothing starts too early."""
        before, pid = self.look()[instance]["restarts"], self.pid(instance)
        os.kill(self.supervisor, signal.SIGSTOP)
        try:
            os.kill(pid, signal.SIGKILL)
            wait(lambda: not alive(pid), f"{instance} dead")
            folder = self.data / "state" / instance
            assert folder.is_dir(), folder
            shutil.rmtree(folder)
        finally:
            os.kill(self.supervisor, signal.SIGCONT)
        wait(lambda: self.look()[instance]["restarts"] > before, f"{instance} noticed as dead")
        self.await_ready(instance)
        if instance.startswith("console"):
            self.read_anew()

    def start_extra(self, agent, instance, share="1/1", data=None, options=()):
        """A process that the supervisor knows nothing of."""
        address = self.data / "run" / f"{instance}.address"
        words = ["--brokers", self.bus, "--prefix", self.prefix, "--data", data or self.data, "--instance", instance]
        words += ["--artifacts", f"file://{self.data}/artifacts", "--address-file", address, *options]
        if share:
            words += ["--share", share]
        with open(self.data / "log" / f"{instance}.log", "ab") as log:
            p = subprocess.Popen([self.programs / f"relearn-{agent}", *map(str, words)], env=self.env, stdout=log, stderr=log)
        self.extra.append(p)

        def ready():
            assert p.poll() is None, f"{instance} ended with {p.returncode}"
            try:
                return address.exists() and self.http.get(f"{address.read_text()}/readyz", timeout=5).ok
            except requests.RequestException:
                return False

        wait(ready, f"{instance} ready")
        return p, address.read_text()

    # ---- HTTP

    def ask(self, method, url, **how):
        """An answer, also while the instance is being started again, or says that it is not ready."""
        said = []

        def once():
            try:
                r = self.http.request(method, url() if callable(url) else url, timeout=PATIENCE_S, **how)
                said[:] = [r]
                return r.status_code != 503 and said
            except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError) as e:  # the latter: cut off within the answer
                said[:] = [e]
                self.look()
                return None

        return wait(once, lambda: f"an answer to {method} {url() if callable(url) else url}: {said}")[0]

    def get(self, path, instance="console-1", **params):
        r = self.ask("GET", lambda: self.url(instance) + path, params=params)
        if not r.ok:
            raise Refused(r.status_code, r.text)
        return r.json()

    def post(self, path, body, instance="console-1", **headers):
        """body: an object for JSON, or text or bytes as they are."""
        headers = {k.replace("_", "-"): v for k, v in headers.items()}
        data = body if isinstance(body, (bytes, str)) else json.dumps(body)
        headers.setdefault("Content-Type", "application/json")
        r = self.ask("POST", lambda: self.url(instance) + path, data=data, headers=headers)
        if not r.ok:
            raise Refused(r.status_code, r.text)
        return r.json()

    def metric(self, instance, name):
        """The sum of a counter over its labels."""
        text = self.ask("GET", lambda: f"{self.url(instance)}/metrics").text
        return sum(float(v) for v in re.findall(rf"^relearn_{name}(?:{{.*}})? (\S+)$", text, re.M))

    # ---- the log, as console tells it

    def events(self, topic=None, key=None, cause=None, **record):
        """Events so far, in the order in which console has read them, whose record has these values."""
        while True:
            more = self.get("/v1/events", after=self.seq, limit=1000)
            if not more:
                break
            self.seq = more[-1]["seq"]
            for e in more:  # a view that was made anew tells everything again
                if (e["topic"], e["id"]) not in self.told:
                    self.told.add((e["topic"], e["id"]))
                    self.log.append(e)
        return [
            e for e in self.log
            if (topic is None or e["topic"] == topic) and (key is None or e["key"] == key)
            and (cause is None or e["cause"] == cause) and all(e["record"].get(k) == v for k, v in record.items())
        ]

    def event(self, topic, key=None, cause=None, seconds=None, **record):
        """The first such event, when it has come."""
        what = f"{topic} key={key} cause={cause} {record}"
        return wait(
            lambda: next(iter(self.events(topic, key, cause, **record)), None),
            lambda: f"{what}; the last of that topic: {[e['record'] for e in self.events(topic)][-2:]}",
            seconds,
        )

    # ---- the loop

    def apply(self, pipeline):
        """Declares it (a dict, as pipeline() makes them) and waits until every agent knows of it: by order of events,
        nothing has to, but what a test publishes is meant for this declaration."""
        return self.post("/v1/pipelines", yaml.safe_dump(pipeline), Content_Type="application/yaml")["event"]

    def publish(self, dataset, where, **fields):
        """The id of the event."""
        where = str(where)
        body = {"dataset": dataset, "uri": where if "://" in where else f"file://{where}", **fields}
        return self.post("/v1/datasets", body)["event"]

    def snapshot(self, line, dataset_event):
        """The outcome of a dataset event for a line."""
        return self.event("snapshots", line, cause=dataset_event)["record"] | {
            "id": self.event("snapshots", line, cause=dataset_event)["id"]
        }

    def plan(self, line, trigger):
        """The plan that settles a trigger: requested, or ignored and the like; not deferred."""

        def settled():
            for e in self.events("plans", line):
                p = e["record"]
                if p["kind"] == "requested" and (trigger in p["covers"] or e["cause"] == trigger):
                    return e
                if p["kind"] not in ("requested", "deferred", "closed") and e["cause"] == trigger:
                    return e
            return None

        return wait(settled, lambda: f"a plan for {trigger} of {line}: {[e['record']['reason'] for e in self.events('plans', line)]}")

    def end_of(self, line, trigger):
        """How the run ended that a trigger led to, the `closed` plan's record; when it was promoted, it is served by then."""
        plan = self.plan(line, trigger)
        assert plan["record"]["kind"] == "requested", plan["record"]
        end = self.event("plans", line, kind="closed", run=plan["id"])["record"]
        if end["outcome"] == "promoted":  # topics are not ordered among each other
            change = self.event("deployments", line, kind="changed", run=end["run"], is_final=True)
            self.await_generation(line, change["record"]["generation"])
        return end

    def learn(self, line, dataset, path, **fields):
        """Publishes, and waits until the run that follows has ended; when it was promoted, until it is in service."""
        event = self.publish(dataset, path, **fields)
        snapshot = self.snapshot(line, event)
        assert snapshot["status"] == "accepted", snapshot["reason"]
        return self.end_of(line, snapshot["id"])

    def deployments(self, line):
        return [e["record"] for e in self.events("deployments", line, kind="changed")]

    def deployment(self, line):
        return self.deployments(line)[-1]

    def decisions(self, line):
        return [e["record"] for e in self.events("decisions", line)]

    def serves(self, line, instance="serve-1"):
        """What an instance said last that it serves on a line; {} before."""
        said = [e["record"] for e in self.events("serving", instance)]
        return next((s for s in said[-1]["lines"] if s["line"] == line), {}) if said else {}

    def await_generation(self, line, generation, instance="serve-1"):
        """Until an instance serves the newest routing of the line, which is of this generation; what it says of it."""

        def served():
            s, changes = self.serves(line, instance), self.deployments(line)
            is_newest = changes and s.get("sequence") == changes[-1]["base"] + 1
            return is_newest and s["generation"] == generation and s["state"] == "serving" and s

        return wait(served, lambda: f"{instance} with generation {generation} of {line}: {self.serves(line, instance)}")

    def state(self, line):
        return next((s for s in self.get("/v1/lines") if s["line"] == line), {"state": "unknown", "generation": 0})

    def idle(self):
        """Nobody owes anything or has anything on its way."""
        try:
            return all(
                self.http.get(f"{c['url']}/status", timeout=30).json()["idle"]
                for i, c in self.look().items() if c["agent"] != "broker"
            )
        except requests.RequestException:  # also one that has no address yet
            return False

    def await_idle(self):
        wait(self.idle, "every agent idle")

    def predict(self, model, rows, instance="serve-1", parameters=None, **more):
        """rows: a list of dicts.  The answer as it came."""
        return self.post(f"/v2/models/{urllib.parse.quote(model, safe='')}/infer", infer_body(rows, parameters) | more, instance)

    def labels_of(self, model, rows, **more):
        """The predicted classes."""
        answer = self.predict(model, rows, **more)
        return next(o["data"] for o in answer["outputs"] if o["name"] == "label")

    # ---- the bus itself

    def consumer(self):
        return confluent_kafka.Consumer({
            "bootstrap.servers": self.bus, "group.id": f"{self.prefix}outside", "enable.auto.commit": False,
            "enable.partition.eof": True, "auto.offset.reset": "earliest", "fetch.wait.max.ms": 10,
            "log_level": 3,
        })

    def raw(self, topic):
        """Every message of a topic, in order within each partition."""
        consumer, found, ends = self.consumer(), [], 0
        full = self.prefix + topic
        parts = sorted(consumer.list_topics(full, timeout=30).topics[full].partitions)
        consumer.assign([confluent_kafka.TopicPartition(full, p, 0) for p in parts])
        while ends < len(parts):
            m = consumer.poll(30)
            assert m is not None, f"{full} could not be read to its end"
            if not m.error():
                found.append(m)
            elif m.error().code() == confluent_kafka.KafkaError._PARTITION_EOF:
                ends += 1
            else:
                raise AssertionError(f"{full}: {m.error()}")
        consumer.close()
        return found

    def produce(self, topic, messages, **conf):
        """messages: (key, value, headers, partition or None)."""
        producer = confluent_kafka.Producer({"bootstrap.servers": self.bus, **conf})
        errors = []
        for key, value, headers, partition in messages:
            where = {} if partition is None else {"partition": partition}
            producer.produce(
                self.prefix + topic, value, key, headers=headers, **where,
                on_delivery=lambda e, m: errors.append(str(e)) if e else None,
            )
        assert producer.flush(30) == 0 and not errors, f"not produced: {errors}"


def header(message, name):
    return next((v.decode() for k, v in message.headers() or [] if k == name), None)


# ---- pipelines and data ------------------------------------------------------------------------------------------------


def pipeline(name, task="binary", label="y", dataset=None, **parts):
    """A declaration that answers at once and is quick to train; parts replace or add to it."""
    p = {
        "apiVersion": "relearn/v1",
        "kind": "Pipeline",
        "name": name,
        "dataset": {"name": dataset or name, "label": label},
        "task": task,
        "split": {"by": "order", "valid": 0, "test": 0.25},
        "train": {"window": {"snapshots": 1}, "params": {"max_depth": 3, "eta": 0.3, "rounds": 20}},
        "plan": {"quiet": "0s", "cooldown": {"after_failure": "0s"}},
        "gate": {"min_rows": 50, "rules": [{"metric": "logloss", "no_worse_than": "champion", "by": 0.2}]},
    }
    if task == "regression":
        p["gate"]["rules"][0]["metric"] = "rmse"
    for part, value in parts.items():
        if isinstance(value, dict) and isinstance(p.get(part), dict):
            p[part] = p[part] | value
        else:
            p[part] = value
    return p


def rows_of(n, seed, task="binary"):
    """x1, x2, x3 in [0,1); the label is 'yes' where x1 + x2 > 1, one of three by x1, or 3 x1 - x2."""
    rng = numpy.random.default_rng(seed)
    x = rng.random((n, 3)).round(6)
    if task == "binary":
        y = numpy.where(x[:, 0] + x[:, 1] > 1, "yes", "no")
    elif task == "multiclass":
        y = numpy.array(["red", "green", "blue"])[numpy.minimum((x[:, 0] * 3).astype(int), 2)]
    else:
        y = (3 * x[:, 0] - x[:, 1]).round(6)
    return [{"x1": float(a), "x2": float(b), "x3": float(c), "y": v.item()} for (a, b, c), v in zip(x, y)]


def mislabel(rows, seed, share=0.75):
    """The labels of the oldest share of the rows, which a split by order trains on, dealt out anew; the rest stays true."""
    n = int(len(rows) * share)
    labels = [r["y"] for r in rows[:n]]
    random.Random(seed).shuffle(labels)
    return [r | {"y": y} for r, y in zip(rows, labels)] + rows[n:]


def write_csv(path, rows, columns=None):
    columns = columns or list(rows[0])
    lines = [",".join(columns)] + [",".join("" if r[c] is None else str(r[c]) for c in columns) for r in rows]
    Path(path).write_text("\n".join(lines) + "\n")
    return path


def tensor(name, values):
    kind = "BYTES" if any(isinstance(v, str) for v in values) else "FP64"
    return {"name": name, "shape": [len(values), 1], "datatype": kind, "data": list(values)}


def infer_body(rows, parameters=None):
    body = {"inputs": [tensor(c, [r[c] for r in rows]) for c in rows[0]]}
    return body | ({"parameters": parameters} if parameters else {})


CLEAR = [{"x1": 0.9, "x2": 0.9, "x3": 0.5}, {"x1": 0.1, "x2": 0.1, "x3": 0.5}]  # rows that any honest model gets right
CLEAR_LABELS = ["yes", "no"]


# ---- the runner --------------------------------------------------------------------------------------------------------


def run(cases, installation=None, give_up_after=None):
    """Runs functions one after the other, each a test; the last line says how many passed. installation: whose logs are
    shown when one fails. Returns the exit code."""
    passed = failed = skipped = 0
    only = sys.argv[1:]
    for case in cases:
        name = case.__name__.replace("_", " ")
        if only and not any(word in case.__name__ for word in only):
            continue
        start = time.monotonic()
        try:
            case()
            passed += 1
            said = "ok"
        except Skip as e:
            skipped += 1
            said = f"skipped: {e}"
        except Exception as e:
            failed += 1
            said = "FAILED"
            detail = traceback.format_exc() if not isinstance(e, AssertionError) else trim(e)
        print(f"{time.monotonic() - start:7.2f}s  {name}: {said}", flush=True)
        if said == "FAILED":
            print("    " + detail.replace("\n", "\n    "), flush=True)
            if installation:
                installation.tell()
    print(f"{passed} passed, {failed} failed, {skipped} skipped", flush=True)
    return 1 if failed else 0


def trim(error):
    """Where in the test, and what."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "relearn_e2e" not in f.filename]
    where = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}: {frames[-1].line}\n" if frames else ""
    return f"{where}{error}"[:3000]


def together(functions):
    """Runs them at the same time; the first error is raised."""
    errors = []

    def call(f):
        try:
            f()
        except BaseException as e:
            errors.append(e)

    threads = [threading.Thread(target=call, args=(f,)) for f in functions]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if errors:
        raise errors[0]
