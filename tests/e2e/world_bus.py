#!/usr/bin/env python3
"""What agents speak through goes away: the bus hangs, or is dead for a while, and the schema registry is not there at start, or goes
later. Predictions are answered meanwhile, agents say what they miss, and nothing is lost or done twice. On the embedded bus, and on
Kafka when RELEARN_TEST_BROKERS is set.

RELEARN_AWAY_SECONDS=60 lets the bus be away for so long at least.
"""
# time-limit: 200
import http.server
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from proof import Clients, verified
from relearn_e2e import AGENTS, CLEAR, CLEAR_LABELS, KAFKA, Installation, alive, pipeline, rows_of, run, wait, write_csv

AWAY_S = float(os.environ.get("RELEARN_AWAY_SECONDS") or 2)
ANSWERS = 100  # predictions at least while the bus is away
KAFKA_FOLDER = Path(os.environ.get("RELEARN_TEST_KAFKA_DIR") or "/nowhere")
it = None


def data(seed, rows=300):
    return write_csv(it.data / f"{seed}.csv", rows_of(rows, seed))


def begin(line, **parts):
    it.apply(pipeline(line, **parts))
    assert it.learn(line, line, data(1))["outcome"] == "promoted"


# ---- the bus -----------------------------------------------------------------------------------------------------------


def bus_pid():
    return int((KAFKA_FOLDER / "1/pid").read_text()) if KAFKA else it.pid("broker")


def answers_go_on(clients):
    before, end = len(clients.answered), time.monotonic() + AWAY_S
    wait(lambda: len(clients.answered) >= before + ANSWERS and time.monotonic() > end, "answers while the bus is away", AWAY_S + 60)


def a_bus_that_hangs_holds_up_what_is_learned_and_nothing_else():
    """It takes connections and answers nobody: stopped in the middle of a run, and of the labels of a window."""
    line = "hangs"
    begin(line)
    event = it.publish(line, data(2, 500))
    os.kill(bus_pid(), signal.SIGSTOP)
    try:
        with Clients(it, line, ["serve-1"]) as clients:
            answers_go_on(clients)
            os.kill(bus_pid(), signal.SIGCONT)
            assert it.end_of(line, it.snapshot(line, event)["id"])["outcome"] == "promoted"
    finally:
        os.kill(bus_pid(), signal.SIGCONT)
    clients.assert_none_failed()
    clients.assert_all_recorded(it)
    assert it.learn(line, line, data(3, 700))["outcome"] == "promoted"
    verified(it)


def misses_the_bus(instance):
    r = it.http.get(f"{it.instances[instance]['url']}/readyz", timeout=30)
    return r.status_code == 503 and r.json()["bus"] is False


def a_bus_that_is_dead_is_missed_by_everybody():
    """Refused connections. Every agent says so, and serve serves on; on Kafka all of it is in the log afterwards. The embedded bus
    comes back as another one, with its journal: what had not reached it is lost, as its page says."""
    line = "dead"
    begin(line)
    it.await_idle()
    pid = bus_pid()
    clients = Clients(it, line, ["serve-1"], threads=1)
    os.kill(it.supervisor, signal.SIGSTOP)  # it would start the embedded bus again at once
    try:
        with clients:
            os.kill(pid, signal.SIGKILL)
            wait(lambda: not alive(pid), "a dead bus")
            for agent in AGENTS:
                wait(lambda a=agent: misses_the_bus(f"{a}-1"), f"{agent}-1 misses its bus")
            answers_go_on(clients)
            if KAFKA:
                subprocess.Popen([KAFKA_FOLDER / "1/start"], start_new_session=True)
                wait(lambda: not misses_the_bus("serve-1"), "a bus again")
    finally:
        os.kill(it.supervisor, signal.SIGCONT)
    clients.assert_none_failed()
    if not KAFKA:
        wait(lambda: it.look()["broker"]["restarts"] and it.look()["serve-1"]["pid"] and it.status()["ready"], "all of it anew")
        wait(lambda: all(c["restarts"] for c in it.look().values()), "agents of the new bus")
        it.read_anew()
    it.await_ready()
    it.await_generation(line, 1)
    if KAFKA:
        clients.assert_all_recorded(it)
    assert it.learn(line, line, data(4, 900))["outcome"] == "promoted"
    assert it.labels_of(line, CLEAR) == CLEAR_LABELS
    verified(it)


# ---- the registry ------------------------------------------------------------------------------------------------------


class Registry:
    """As much of a schema registry as is asked for; comes and goes at one address, and remembers."""

    def __init__(self):
        self.schemas, self.asked, self.server = {}, 0, None
        with http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as probe:
            self.port = probe.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def start(self):
        registry = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def answer(self, status, body):
                text = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/vnd.schemaregistry.v1+json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                try:
                    self.wfile.write(text)
                except BrokenPipeError:
                    pass  # it did not wait

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if re.fullmatch(r"/subjects/[^/]+/versions", self.path):
                    registry.asked += 1
                    self.answer(200, {"id": registry.schemas.setdefault(body["schema"], len(registry.schemas) + 1)})
                else:
                    self.answer(404, {"error_code": 404, "message": "no such path"})

            def do_GET(self):
                found = re.fullmatch(r"/schemas/ids/(\d+)", self.path.split("?")[0])
                text = next((s for s, i in registry.schemas.items() if found and i == int(found[1])), None)
                self.answer(*((200, {"schema": text}) if text else (404, {"error_code": 40403, "message": "no such schema"})))

        http.server.ThreadingHTTPServer.allow_reuse_address = True
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


def says(folder, instance, words):
    log = folder / "log" / f"{instance}.log"
    wait(lambda: log.exists() and words in log.read_text(errors="replace"), f"'{words}' in {log}")


def a_registry_that_is_away_at_start_and_later_is_waited_for():
    global it
    outer, registry = it, Registry()
    it = Installation("registry", ["--registry", registry.url])
    try:
        up = threading.Thread(target=it.up)
        up.start()
        for agent in ("plan", "serve"):  # they say what they wait for
            says(it.data, f"{agent}-1", "registry.waiting")
        registry.start()
        up.join(90)
        assert it.is_up, "up, as soon as the registry is there"
        begin("framed")
        registry.stop()
        assert it.learn("framed", "framed", data(2, 500))["outcome"] == "promoted"  # what is known is known
        it.kill("gate-1")
        log = it.data / "log/gate-1.log"
        known = len(log.read_text())
        wait(lambda: "registry.waiting" in log.read_text()[known:], "gate-1 misses the registry")
        event = it.publish("framed", data(3, 700))
        trigger = it.snapshot("framed", event)["id"]
        it.event("evaluations", "framed", run=it.plan("framed", trigger)["id"])
        assert not it.events("decisions", "framed", run=it.plan("framed", trigger)["id"])
        registry.start()
        it.await_ready("gate-1")
        assert it.end_of("framed", trigger)["outcome"] == "promoted"
        assert it.raw("plans")[0].value()[0] == 0, "framed for the registry"
        verified(it)
    except AssertionError:
        it.tell()
        raise
    finally:
        it.close()
        it = outer


CASES = [
    a_bus_that_hangs_holds_up_what_is_learned_and_nothing_else,
    a_bus_that_is_dead_is_missed_by_everybody,
    a_registry_that_is_away_at_start_and_later_is_waited_for,
]

if __name__ == "__main__":
    with Installation("bus") as it:
        code = run(CASES, it)
    sys.exit(code)
