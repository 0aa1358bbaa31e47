"""Start to ready, memory at rest, CPU at rest."""
import time

from figures import cpu_shares, pss_kib, spread, status_kib
from installation import Installation

STARTS = 5
SETTLE_S = 3
WATCH_S = 30


def measure(brokers, quick, say):
    ups, ready = [], {}
    with Installation(brokers) as installation:
        prefix = installation.prefix  # on a Kafka its topics are made now, and there from now on
    for _ in range(2 if quick else STARTS):
        with Installation(brokers, prefix) as installation:
            ups.append(installation.up_s * 1000)
            for agent, ms in installation.ready_ms().items():
                ready.setdefault(agent, []).append(ms)
    with Installation(brokers) as installation:
        time.sleep(SETTLE_S)
        pids = {i["agent"]: i["pid"] for i in installation.instances}
        shares = cpu_shares(pids.values(), WATCH_S / 5 if quick else WATCH_S)
        agents = {agent: {"rss_mib": status_kib(pid, "VmRSS") / 1024, "anon_mib": status_kib(pid, "RssAnon") / 1024,
                          "pss_mib": pss_kib(pid) / 1024, "threads": status_kib(pid, "Threads"), "cpu_percent": shares[pid],
                          "ready_ms": spread(ready[agent])["p50"] if agent in ready else None}
                  for agent, pid in pids.items()}
    total = sum(a["cpu_percent"] for a in agents.values())
    say(f"start to ready {spread(ups)['p50']:.0f} ms; at rest {total:.2f} % of a core")
    return {"up_ms": spread(ups), "agents": agents, "cpu_percent": total}
