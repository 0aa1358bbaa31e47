"""What the tests of the guarantees share: `relearn verify` as the judge at the end of a case, clients that ask for predictions
as a load balancer passes them on, and programs in the place of an installation's own."""
import io
import json
import os
import shutil
import stat
import tempfile
import threading
from pathlib import Path

import fastavro
import requests

from relearn_e2e import BIN, CLEAR, CLEAR_LABELS, LOOK_S, ROOT, header, infer_body, wait

TRY_S = 30  # a client looks for an instance that answers for so long
TRIES = 3  # rounds over all instances before a request has failed: an instance that is being started again is passed over


def verified(it, *words):
    """Nobody owes anything, and `relearn verify` proves everything."""
    it.await_idle()
    p = it.command("verify", "--json", *words, check=False)
    assert p.returncode == 0, f"relearn verify: exit code {p.returncode}: {violations(p.stdout)}{p.stderr}"
    return json.loads(p.stdout)


def violations(text):
    try:
        found = json.loads(text)
    except ValueError:
        return text
    return json.dumps([c for c in found.get("checks", []) if c.get("violations")] or found, indent=1)[:3000]


def decoded(messages, schema):
    """The records of raw messages, which are single-object encoded."""
    kind = fastavro.schema.load_schema(str(ROOT / f"schemas/{schema}.avsc"))
    return [fastavro.schemaless_reader(io.BytesIO(m.value()[10:]), kind) for m in messages]


def encoded(like, schema, record):
    """Another record in the bytes of a message of its kind."""
    kind, out = fastavro.schema.load_schema(str(ROOT / f"schemas/{schema}.avsc")), io.BytesIO()
    out.write(like.value()[:10])
    fastavro.schemaless_writer(out, kind, record)
    return out.getvalue()


class Clients:
    """Threads that ask for predictions until they are told to end. Each asks the instances in turn, and another one when one does
    not answer or says that it is not ready. `failed`: requests that no instance has answered rightly."""

    def __init__(self, it, line, instances, rows=CLEAR, threads=2):
        self.urls = [it.look()[i]["url"] for i in instances]
        self.line, self.body, self.is_over = line, infer_body(rows), threading.Event()
        self.lock = threading.Lock()
        self.answered, self.failed, self.retried = [], [], 0
        self.threads = [threading.Thread(target=self.run, args=(n,), daemon=True) for n in range(threads)]

    def __enter__(self):
        for t in self.threads:
            t.start()
        wait(lambda: len(self.answered) >= len(self.threads), "the clients' first answers")
        return self

    def __exit__(self, *_):
        self.is_over.set()
        for t in self.threads:
            t.join(TRY_S * 2)
        return False

    def run(self, n):
        session, turn = requests.Session(), n
        while not self.is_over.wait(LOOK_S / 2):
            turn += 1
            self.ask(session, turn)

    def ask(self, session, turn):
        said = []
        for attempt in range(TRIES * len(self.urls)):
            url = f"{self.urls[(turn + attempt) % len(self.urls)]}/v2/models/{self.line}/infer"
            try:
                r = session.post(url, json=self.body, timeout=TRY_S)
            except requests.RequestException as e:
                said.append(type(e).__name__)
                continue
            if r.status_code == 503:
                said.append("503")
                continue
            self.take(r, attempt)
            return
        with self.lock:
            self.failed.append(said)

    def take(self, r, attempt):
        answer = r.json() if r.ok else {}
        labels = next((o["data"] for o in answer.get("outputs", []) if o["name"] == "label"), None)
        with self.lock:
            self.retried += attempt > 0
            if labels == CLEAR_LABELS:
                self.answered.append(answer["parameters"]["prediction"])
            else:
                self.failed.append((r.status_code, r.text[:300]))

    def assert_none_failed(self):
        assert not self.failed, f"{len(self.failed)} of {len(self.failed) + len(self.answered)} requests failed: {self.failed[:5]}"

    def assert_all_recorded(self, it):
        """Each answer is in the topic. That an id is there twice is no fault: it counts once, and `verified` looks whether both say
        the same."""
        def recorded():
            found = [header(m, "ce_id") for m in it.raw("predictions") if m.key() == self.line.encode()]
            self.found = found
            return set(self.answered) <= set(found)

        wait(recorded, lambda: f"{len(set(self.answered) - set(self.found))} answered predictions in the topic")


class Programs:
    """A folder of programs that stands in for those under test: `wrap` puts a script before an agent."""

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="relearn-programs-"))
        for program in BIN.iterdir():
            os.symlink(program, self.folder / program.name)
        (self.folder / "relearn").unlink()  # finds the others beside itself
        shutil.copy2(BIN / "relearn", self.folder / "relearn")

    def wrap(self, name, lines):
        script(self.folder / name, [*lines, f'exec {BIN / name} "$@"'])

    def close(self):
        shutil.rmtree(self.folder, ignore_errors=True)


def script(path, lines):
    path = Path(path)
    path.unlink(missing_ok=True)
    path.write_text("#!/bin/sh\n" + "\n".join(lines) + "\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path
