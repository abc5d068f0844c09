"""How late ten thousand schedules fire in a running agent, and what it costs while it waits; figures, not a test.

Usage: tests/bench/run agent [--minutes N] [BINARY]

Three agents run one after the other, each with 1,000 experiments of ten schedules: one whose fires are spread over every
minute, one where all are due in the same second, and one where nothing is due. Most experiments are under a blackout, so
that a fire ends in a recorded decision; a few run against the simulator. The store tells when the agent says that it did
something; a reader from outside tells when that was on disk.
"""

import argparse
import contextlib
import datetime
import json
import os
import re
import signal
import sqlite3
import sys
import tempfile
import threading
import time
from pathlib import Path

from simulator import Connection, port_in, request, started

EXPERIMENTS, SCHEDULES = 1_000, 10
# Experiments without a blackout, with one schedule each: as many as may be active at once (AWS FIS user guide, fis-quotas).
RUNNING = 5
# How often the reader looks: what it adds to a figure at most.
LOOKS_EVERY = 0.01
# From the start to the first fire that counts, and from the last one to the end.
SETTLES = 5
# What is asked of the agent (seconds, share of a core, bytes).
LATE, IDLE, MEMORY = 0.35, 0.01, 40e6

RULES = """state_directory = "{state}"
policy = {{ require_stop_condition = false, allow_all_targets = true, require_tags = {{}} }}
[aws]
region = "us-east-1"
endpoint_url = "http://127.0.0.1:{port}"
[windows.always]
kind = "blackout"
weekly = ["always"]
experiments = ["closed-*"]
"""
ENVIRONMENT = {
    "PATH": "/usr/bin:/bin",
    "AWS_ACCESS_KEY_ID": "bench",
    "AWS_SECRET_ACCESS_KEY": "bench",
    "AWS_EC2_METADATA_DISABLED": "true",
}


def spread(number):
    return f"{number % 60} * * * * *"


def at_once(_number):
    return "0 * * * * *"


def never_now(_number):
    # Half a year away, whenever this is.
    month = (datetime.date.today().month + 5) % 12 + 1
    return f"0 0 3 1 {month} *"


def rules(when, port, state, template):
    """Equal patterns in two zones, as a fleet has them."""
    text = [RULES.format(state=state, port=port)]
    for experiment in range(EXPERIMENTS):
        closed = experiment >= RUNNING
        name = f"{'closed' if closed else 'open'}-{experiment}"
        text.append(f'[experiments.{name}]\ntemplate = "{template}"\noverlap = "allow"\nschedules = [')
        for number in range(SCHEDULES if closed else 1):
            zone = ("Europe/Berlin", "America/New_York")[number % 2]
            text.append(f'  {{ name = "s{number}", cron = "{when(experiment * SCHEDULES + number)}", timezone = "{zone}" }},')
        text.append("]")
    return "\n".join(text)


class Reader(threading.Thread):
    """Notes when entries of the journal became visible to others."""

    def __init__(self, database):
        super().__init__(daemon=True)
        self.database, self.done, self.seen = database, threading.Event(), [(0.0, 0)]

    def run(self):
        connection = sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)
        while not self.done.wait(LOOKS_EVERY):
            (last,) = connection.execute("SELECT COALESCE(MAX(seq), 0) FROM journal").fetchone()
            if last > self.seen[-1][1]:
                self.seen.append((time.time(), last))

    def visible_at(self):
        """The time at which each entry was first seen, by its number."""
        times = {}
        for (_, before), (at, last) in zip(self.seen, self.seen[1:]):
            times.update(dict.fromkeys(range(before + 1, last + 1), at))
        return times


class Process:
    """What the system says of a process."""

    def __init__(self, pid):
        self.pid = pid

    def cpu_seconds(self):
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self):
        """What is resident, the most that ever was, and what of it is not pages of a file, in bytes."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return [int(re.search(rf"{key}:\s+(\d+) kB", status)[1]) * 1024 for key in ("VmRSS", "VmHWM", "RssAnon")]


@contextlib.contextmanager
def agent(binary, when, simulator):
    """An agent that has adopted all schedules, in a folder of its own."""
    port, template = simulator
    with tempfile.TemporaryDirectory(prefix="firedrill-bench-") as folder:
        folder = Path(folder)
        config, log = folder / "firedrill.toml", folder / "agent.log"
        config.write_text(rules(when, port, folder / "state", template))
        with log.open("w") as errors:
            environment = {**ENVIRONMENT, "HOME": str(folder), "TMPDIR": str(folder)}
            process = started([binary, "--config", str(config), "run"], stderr=errors, env=environment)
        try:
            database = folder / "state" / "firedrill.db"
            wait_for(process, log, lambda: adopted(database) >= (EXPERIMENTS - RUNNING) * SCHEDULES + RUNNING)
            yield process, database
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=60)


def adopted(database):
    try:
        with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
            return connection.execute("SELECT COUNT(*) FROM cursors").fetchone()[0]
    except sqlite3.OperationalError:
        return 0


def wait_for(process, log, holds):
    until = time.monotonic() + 120
    while not holds():
        if process.poll() is not None or time.monotonic() > until:
            raise SystemExit(f"bench: the agent did not get so far:\n{log.read_text()[-2000:]}")
        time.sleep(0.1)


def seconds(key):
    """The slot in a run's key, `slot:NAME:INSTANT`."""
    return datetime.datetime.fromisoformat(key.split(":", 2)[2].replace("Z", "+00:00")).timestamp()


def fires(database, reader, since, until):
    """How late each slot in a span of time was opened and decided, as the store says and as others saw it."""
    visible = reader.visible_at()
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        runs = dict(connection.execute("SELECT id, trigger_key FROM runs WHERE trigger_kind = 'slot'"))
        entries = connection.execute("SELECT run, kind, at_us, seq FROM journal ORDER BY seq").fetchall()
    late = {"opened": [], "opened, seen": [], "decided": [], "decided, seen": []}
    due = {run: seconds(key) for run, key in runs.items()}
    for run, kind, at_us, seq in entries:
        if run in due and since <= due[run] < until and (step := {"opened": "opened", "skipped": "decided", "start-asked": "decided"}.get(kind)):
            late[step].append(at_us / 1e6 - due[run])
            late[f"{step}, seen"].append(visible.get(seq, float("inf")) - due[run])
    ended = sum(kind == "finished" for _, kind, _, _ in entries)
    return late, ended, sum(since <= at < until for at in due.values())


def measure_fires(name, binary, when, simulator, minutes):
    with agent(binary, when, simulator) as (process, database):
        reader, system = Reader(database), Process(process.pid)
        reader.start()
        # Whole minutes, from the next one that is not too near.
        since = (time.time() + SETTLES) // 60 * 60 + 60
        time.sleep(since - time.time() - 1)
        before = system.cpu_seconds()
        until = since + 60 * minutes
        # What is late has half a minute more.
        time.sleep(until + 30 - time.time())
        cpu, (resident, peak, _own) = system.cpu_seconds() - before, system.memory()
        reader.done.set()
        reader.join()
        late, ended, count = fires(database, reader, since, until)
    print(f"\n{name}: {count:,} fires, {ended} of them ran; {1e6 * cpu / max(1, count):,.0f} µs of CPU each")
    for step, values in late.items():
        values.sort()
        share = lambda part: 1e3 * values[min(len(values) - 1, int(len(values) * part))]
        if values:
            print(f"  {step:14} {len(values):7,}  p50 {share(0.5):7.0f} ms  p99 {share(0.99):7.0f} ms  most {1e3 * values[-1]:7.0f} ms")
    print(f"  memory {resident / 1e6:.1f} MB, at most {peak / 1e6:.1f} MB")
    lost = count - len(late["decided"])
    return lost, {step: values[int(len(values) * 0.99)] if values else float("inf") for step, values in late.items()}


def measure_idle(binary, simulator):
    with agent(binary, never_now, simulator) as (process, _database):
        time.sleep(SETTLES)
        system = Process(process.pid)
        before, began = system.cpu_seconds(), time.monotonic()
        time.sleep(60)
        share = (system.cpu_seconds() - before) / (time.monotonic() - began)
        resident, peak, own = system.memory()
    print(f"\nnothing due for a minute: {100 * share:.2f} % of a core, memory {resident / 1e6:.1f} MB, {own / 1e6:.1f} of them not pages of a file; at most {peak / 1e6:.1f} MB")
    return share, resident


def template():
    wait = {"actionId": "aws:fis:wait", "parameters": {"duration": "PT1M"}}
    return {
        "clientToken": "bench",
        "description": "a benchmark",
        "roleArn": "arn:aws:iam::123456789012:role/bench",
        "stopConditions": [{"source": "none"}],
        "actions": {"wait": wait},
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary")
    parser.add_argument("--minutes", type=int, default=3, help="minutes of fires in each of the two measurements")
    args = parser.parse_args()
    process = started([args.binary, "simulator", "--listen", "127.0.0.1:0", "--speed", "60"], env=ENVIRONMENT, stdout=-1)
    try:
        port = port_in(process.stdout)
        connection = Connection(port)
        connection.send(request("POST", "/experimentTemplates", template()))
        simulator = port, json.loads(connection.reply())["experimentTemplate"]["id"]
        print(f"load of the machine before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
        share, resident = measure_idle(args.binary, simulator)
        results = [
            measure_fires(name, args.binary, when, simulator, args.minutes)
            for name, when in (("spread over the minute", spread), ("all in the same second", at_once))
        ]
        print(f"load of the machine after: {os.getloadavg()[0]:.1f}")
    finally:
        process.terminate()
        process.wait()
    lost = sum(lost for lost, _ in results)
    late, decided = (max(late[step] for _, late in results) for step in ("opened, seen", "decided, seen"))
    told = lambda holds: "met" if holds else "missed"
    print(
        f"""
asked for: fires on disk p99 up to {LATE} s late: {late:.2f} s ({told(late <= LATE)}); decided: {decided:.2f} s;
idle below {100 * IDLE:.0f} %: {100 * share:.2f} % ({told(share < IDLE)}); memory at rest below {MEMORY / 1e6:.0f} MB: {resident / 1e6:.1f} MB ({told(resident < MEMORY)});
slots without a decision: {lost}

How to read it: "opened" is when the run of a slot was recorded and "decided" when it was skipped or its start was asked
for, both by the time that the agent wrote down; "seen" is when a reader found it on disk, looking every {1e3 * LOOKS_EVERY:.0f} ms."""
    )


if __name__ == "__main__":
    main()
