"""The story that torture tells again and again: datasets, an alert, commands, predictions and labels on three lines, of which two
are segments of one pipeline. Told with other names each time; facts() is what must be the same."""
import http.server
import threading

import confluent_kafka

from relearn_e2e import CLEAR, CLEAR_LABELS, header, mislabel, pipeline, rows_of, wait, write_csv

SITES = ["north", "south"]
PATIENCE_S = 45  # of one step: a takeover of a run, and one that is started again after a pause
CALM = {"window": {"predictions": 20}, "drift": {"metric": "psi", "threshold": 50}}


WORK = {  # what each group's position is committed of
    "ingest": ["datasets"],
    "plan": ["snapshots", "drift", "commands", "models", "decisions", "deployments"],
    "train": ["plans"],
    "evaluate": ["models", "decisions"],
    "gate": ["evaluations", "commands"],
    "deploy": ["decisions", "health", "commands"],
}


def behind(it):
    """Where a group's position is not the end of its topic: [(group, topic, partition, position, end)]."""
    found = []
    for agent, topics in WORK.items():
        consumer = confluent_kafka.Consumer({"bootstrap.servers": it.bus, "group.id": f"{it.prefix}{agent}", "log_level": 3})
        parts = [confluent_kafka.TopicPartition(it.prefix + t, p) for t in topics for p in range(it.partitions)]
        for at in consumer.committed(parts, timeout=30):
            end = consumer.get_watermark_offsets(at, timeout=30)[1]
            if end and at.offset != end:
                found.append((agent, at.topic, at.partition, at.offset, end))
        consumer.close()
    return found


class Files(http.server.ThreadingHTTPServer):
    """Serves a folder, as a data lake would."""

    def __init__(self, folder):
        class Handler(http.server.SimpleHTTPRequestHandler):
            def __init__(self, *how):
                super().__init__(*how, directory=str(folder))

            def log_message(self, *_):
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def url(self, path):
        return f"http://127.0.0.1:{self.server_address[1]}/{path.name}"


class World:
    """What all tellings in one installation share."""

    def __init__(self, it):
        self.it = it
        self.folder = it.data / "torture"
        self.folder.mkdir()
        self.files = Files(self.folder)
        self.good, self.both = rows_of(300, 1), sited(rows_of(400, 2))
        self.bad = sited(mislabel(rows_of(480, 3), 4))

    def close(self):
        self.files.shutdown()


def pause_for(condition, seconds):
    """Waits for something that need not come."""
    try:
        wait(condition, "", seconds)
    except AssertionError:
        pass


def sited(rows):
    return [r | {"site": SITES[i % 2]} for i, r in enumerate(rows)]


class Story:
    """A constant column of another name each time changes nothing that a model learns, and every byte that is stored."""

    def __init__(self, world, name):
        self.it, self.world, self.name = world.it, world, name
        self.one, self.two = f"{name}.one", f"{name}.two"
        self.lines = [self.one, *(f"{self.two}/{s}" for s in SITES)]
        self.constant = {f"of_{name}": 1.5}

    def csv(self, what, rows):
        return write_csv(self.world.folder / f"{self.name}-{what}.csv", [r | self.constant for r in rows])

    def rows(self):
        return [r | self.constant for r in CLEAR]

    # ---- helpers: everything is sent with a key of its own, so that it may be sent again

    def send(self, path, body, key):
        return self.it.post(path, body, Idempotency_Key=f"{self.one} {key}").get("event")

    def dataset(self, name, where, key):
        return self.send("/v1/datasets", {"dataset": name, "uri": where}, key)

    def settle(self, line, event):
        """Until what a dataset, an alert or a command led to is over on a line."""
        it = self.it
        it.event("snapshots", line, cause=event, seconds=PATIENCE_S)
        trigger = it.snapshot(line, event)["id"]
        return it.end_of(line, trigger)["outcome"]

    # ---- steps

    def begin(self):
        it, w = self.it, self.world
        it.apply(pipeline(self.one, monitor=CALM))
        it.apply(pipeline(self.two) | {"dataset": {"name": self.two, "label": "y", "segment": "site"}})
        first = self.dataset(self.one, f"file://{self.csv('good', w.good)}", "first")
        both = self.dataset(self.two, w.files.url(self.csv("both", w.both)), "both")
        return [self.settle(self.one, first)] + [self.settle(line, both) for line in self.lines[1:]]

    def predict_and_label(self):
        """A window of predictions; what is asked again because its answer was lost is another prediction, or none. So the
        labels are for what the log has."""
        it, asked = self.it, 0

        def full():
            return it.events("health", self.one, kind="window", window=0)

        while not full():
            for _ in range(5):
                it.predict(self.one, self.rows())
            asked += 5
            assert asked < 500, "a window of predictions is never full"
            if asked >= 10:
                pause_for(full, 1)
        made = {header(m, "ce_id") for m in it.raw("predictions") if m.key() == self.one.encode()}
        labels = [{"prediction": f"{p}.{i}", "value": CLEAR_LABELS[i]} for p in sorted(made) for i in range(2)]
        self.send("/v1/labels", {"line": self.one, "labels": labels}, "labels")
        it.event("health", self.one, kind="quality", window=0, seconds=PATIENCE_S)

    def stray(self):
        """Outside producers' mistakes: an alert on a partition that is not its line's, and bytes that are no alert."""
        it = self.it
        alert = next(m for m in it.raw("drift") if m.key() == self.one.encode())
        others = [p for p in range(it.partitions) if p != alert.partition()]
        stray = {"ce_id": f"{self.one}-stray"}
        it.produce("drift", [
            (alert.key(), alert.value(), stray, others[0]),
            (self.one.encode(), b"no alert", {"ce_id": f"{self.one}-poison"}, None),
        ])
        it.end_of(self.one, stray["ce_id"])

    def go_on(self):
        """An alert on one line, a worse dataset on the others, at the same time; the first of the runs has a warm trainer."""
        it, w = self.it, self.world
        pause_for(lambda: it.get("/status", "train-1")["spare"], 2)
        alert = self.send("/v1/alerts", {"line": self.one, "source": "tester"}, "alert")
        worse = self.dataset(self.two, f"file://{self.csv('bad', w.bad)}", "worse")
        found = [it.end_of(self.one, alert)["outcome"]] + [self.settle(line, worse) for line in self.lines[1:]]
        return found

    def command(self):
        """Back on one line; held, then retrained on another."""
        it = self.it
        back = self.send("/v1/commands", {"line": self.one, "command": "rollback"}, "rollback")
        held = self.send("/v1/commands", {"line": self.lines[1], "command": "pause"}, "pause")
        it.event("plans", self.lines[1], cause=held, seconds=PATIENCE_S)
        change = it.event("deployments", self.one, cause=back, seconds=PATIENCE_S)["record"]
        go = self.send("/v1/commands", {"line": self.lines[1], "command": "resume"}, "resume")
        it.event("plans", self.lines[1], cause=go, seconds=PATIENCE_S)
        again = self.send("/v1/commands", {"line": self.lines[2], "command": "retrain"}, "retrain")
        it.end_of(self.lines[2], again)
        it.await_generation(self.one, change["generation"])

    def tell(self):
        ends = self.begin()
        assert ends == ["promoted"] * 3, ends
        self.predict_and_label()
        self.go_on()
        self.stray()
        self.command()
        self.settled()
        return self.facts()

    # ---- the end

    def settled(self):
        """Nobody owes anything; every line is served as the log says."""
        for line in self.lines:
            self.it.await_generation(line, self.it.deployment(line)["generation"])
        wait(self.it.idle, lambda: f"every agent idle: {self.not_idle()}", PATIENCE_S)

    def not_idle(self):
        found = []
        for i, c in self.it.look().items():
            if c["agent"] != "broker":
                status = self.it.http.get(f"{c['url']}/status", timeout=30).json()
                if not status["idle"]:
                    found.append((i, c["state"], status))
        return found

    def facts(self):
        return {line.removeprefix(self.name): self.facts_of(line) for line in self.lines} | {
            "dead": len({header(m, "ce_id") for m in self.it.raw("deadletters") if self.one.encode() in (m.value() or b"")})
        }

    def facts_of(self, line):
        """What was decided, and what is served, without what differs by nature: ids, times, intervals, attempts."""
        it = self.it

        def records(topic, **fields):
            return [e["record"] for e in it.events(topic, line, **fields)]

        def number(v):
            return None if v is None else round(v, 9)

        answers = [it.predict(line, [row])["outputs"] for row in self.rows()]
        return {
            "snapshots": [(r["status"], r["rows"], r["train_rows"], r["rows_seen_before"]) for r in records("snapshots")],
            "plans": sorted((r["kind"], r["trigger"], r["outcome"]) for r in records("plans") if r["kind"] != "deferred"),
            "bases": [r["base"] for r in records("plans", kind="requested")],
            "models": [(r["status"], r["trained_rows"], r["rounds"]) for r in records("models")],
            "evaluations": [[(m["metric"], number(m["candidate"]), number(m["champion"])) for m in r["metrics"]] for r in records("evaluations")],
            "decisions": [(r["verdict"], r["against"], [x["verdict"] for x in r["rules"]]) for r in records("decisions")],
            "generations": [(r["generation"], r["action"], r["base"]) for r in records("deployments", kind="changed")],
            "health": sorted((r["kind"], r["predictions"], r["labels"]) for r in records("health", window=0)),
            "served": it.predict(line, self.rows())["model_version"],
            "answers": [[(o["name"], o["data"]) for o in a] for a in answers],
        }
