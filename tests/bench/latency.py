"""How soon and how fast events become experiments, beside a plain boto3 loop; figures, not a test.

Usage: tests/bench/run events [--rounds N] [BINARY]

Both sides read the same queue of the same simulator, one after the other, round by round. The loop is what one writes
first: receive ten messages by long poll, then StartExperiment and DeleteMessage for each. The agent records each event,
judges it, has its intent on disk (WAL, synchronous=FULL) before StartExperiment, and deletes a message only when its
event is on disk. The simulator tells when it accepted each experiment.

FIS lets five experiments be active at once. Here they end as soon as they began, by the simulator's speed. The loop never
meets that limit; of the agent's starts, which are made beside each other, a few in a hundred do, are refused and made
again two seconds later. So events per second are told of the middle nine tenths.
"""

import argparse
import contextlib
import datetime
import json
import os
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

from agent import Process
from simulator import Connection, port_in, request, started

# Services, each with an experiment and a template of its own.
SERVICES = 50
# Events sent one at a time, and how long after each other, in seconds: longer than either side takes for one.
SINGLE, SPACE = 150, 0.08
# Messages of one SendMessageBatch.
BATCH = 10
PATIENCE = 300
# What a call takes besides, in milliseconds: nothing, and about what it takes to reach AWS within a Region and be answered.
# Beside it the events that are sent as fast as the queue takes them: the simulator keeps a thousand faults a call.
BURSTS = {0: 3_000, 10: 900}
FAULTS = 1_000
CALLS = ["ReceiveMessage", "DeleteMessage", "DeleteMessageBatch", "StartExperiment", "GetExperiment", "GetExperimentTemplate"]
# How much faster than AWS the simulator lives: an experiment of a minute takes 0.15 ms, and it is forgotten, which takes
# 120 days, after 26 s. So the experiments are asked for more often than that, in seconds.
SPEED, LOOKS_EVERY = 400_000, 5
# What is asked of the agent, as a ratio to the loop.
LATENCY, THROUGHPUT = 1 / 5, 5

REGION = "us-east-1"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "bench", "AWS_EC2_METADATA_DISABLED": "true"}
RULES = """state_directory = "{state}"
policy = {{ require_stop_condition = false, allow_all_targets = true, require_tags = {{}} }}
[aws]
region = "{region}"
endpoint_url = "http://127.0.0.1:{port}"
[queues.bench]
url = "{queue}"
"""
EXPERIMENT = """
[experiments.{name}]
template = "{template}"
overlap = "allow"
[[experiments.{name}.triggers]]
pattern = {{ source = ["aws.codedeploy"], detail = {{ state = ["SUCCESS"], application = ["{name}"] }} }}
"""


def loop(queue, templates):
    """The plain loop; runs until it is ended."""
    import boto3

    sqs, fis = boto3.client("sqs"), boto3.client("fis")
    while True:
        answer = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10, WaitTimeSeconds=20)
        for message in answer.get("Messages", []):
            event = json.loads(message["Body"])
            if event["source"] == "aws.codedeploy" and event["detail"]["state"] == "SUCCESS":
                template = templates[event["detail"]["application"]]
                fis.start_experiment(experimentTemplateId=template, clientToken=event["id"])
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])


class Simulator:
    """The simulator as this program drives it."""

    def __init__(self, port):
        self.port, self.connection = port, Connection(port)
        self.queue = self.sqs("CreateQueue", QueueName="bench")["QueueUrl"]
        self.templates = {f"service-{number}": self.template(number) for number in range(SERVICES)}

    def ask(self, data):
        self.connection.send(data)
        return json.loads(self.connection.reply() or b"{}")

    def sqs(self, operation, **body):
        target = f"\r\nx-amz-target: AmazonSQS.{operation}\r\ncontent-type: application/x-amz-json-1.0\r\n".encode()
        return self.ask(request("POST", "/", body).replace(b"\r\ncontent-type: application/json\r\n", target, 1))

    def template(self, number):
        body = {
            "clientToken": f"template-{number}",
            "description": "a benchmark",
            "roleArn": "arn:aws:iam::123456789012:role/bench",
            "stopConditions": [{"source": "none"}],
            "actions": {"wait": {"actionId": "aws:fis:wait", "parameters": {"duration": "PT1M"}}},
        }
        return self.ask(request("POST", "/experimentTemplates", body))["experimentTemplate"]["id"]

    def slow(self, milliseconds):
        """Makes every call of both sides take longer."""
        self.ask(request("DELETE", "/_simulator/faults"))
        for operation in CALLS if milliseconds else []:
            fault = {"operation": operation, "fault": "latency", "milliseconds": milliseconds, "count": FAULTS}
            self.ask(request("POST", "/_simulator/faults", fault))

    def send(self, count):
        """Sends events to the queue; returns by id when each was sent."""
        sent = {}
        for first in range(0, count, BATCH):
            events = [event(number) for number in range(first, min(count, first + BATCH))]
            entries = [{"Id": str(at), "MessageBody": json.dumps(event)} for at, event in enumerate(events)]
            at = time.time()
            self.sqs("SendMessageBatch", QueueUrl=self.queue, Entries=entries)
            sent.update((event["id"], at) for event in events)
        return sent

    def is_empty(self):
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        answer = self.sqs("GetQueueAttributes", QueueUrl=self.queue, AttributeNames=names)["Attributes"]
        return all(answer[name] == "0" for name in names)

    def experiments(self):
        return self.ask(request("GET", "/_simulator/state"))["experiments"]


def event(number):
    """As CodeDeploy shapes it."""
    now = datetime.datetime.now(datetime.timezone.utc)
    name = f"service-{number % SERVICES}"
    detail = {"application": name, "deploymentGroup": "production", "deploymentId": f"d-{number:09}", "state": "SUCCESS"}
    return {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": "CodeDeploy Deployment State-change Notification",
        "source": "aws.codedeploy",
        "account": "123456789012",
        "time": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "region": REGION,
        "resources": [f"arn:aws:codedeploy:{REGION}:123456789012:application:{name}"],
        "detail": {**detail, "instanceGroupId": str(uuid.uuid4()), "region": REGION},
    }


class Boto:
    """The loop in a process of its own."""

    name = "boto3 loop"

    def __init__(self, simulator, _binary, folder):
        environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "AWS_DEFAULT_REGION": REGION, **CREDENTIALS}
        environment["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{simulator.port}"
        command = [sys.executable, "-B", __file__, "--loop", simulator.queue, json.dumps(simulator.templates)]
        self.process, self.simulator = started(command, env=environment, stderr=None), simulator

    def is_done(self):
        return self.simulator.is_empty()

    def event_of(self, experiment):
        return experiment["clientToken"]

    def end(self):
        self.process.kill()


class Agent:
    """The agent with a store of its own."""

    name = "agent"

    def __init__(self, simulator, binary, folder):
        config, self.database = folder / "firedrill.toml", folder / "state" / "firedrill.db"
        rules = RULES.format(state=folder / "state", region=REGION, port=simulator.port, queue=simulator.queue)
        each = [EXPERIMENT.format(name=name, template=template) for name, template in simulator.templates.items()]
        config.write_text(rules + "".join(each))
        environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "TMPDIR": str(folder), **CREDENTIALS}
        self.log = (folder / "agent.log").open("w")
        self.process = started([binary, "--config", str(config), "run"], env=environment, stderr=self.log)
        self.simulator, self.runs = simulator, {}

    def rows(self, query):
        with contextlib.closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as connection:
            return connection.execute(query).fetchall()

    def is_done(self):
        waiting = "SELECT COUNT(*) FROM runs WHERE is_open = 1 AND phase NOT IN ('running', 'stopping')"
        return self.simulator.is_empty() and self.rows(waiting) == [(0,)]

    def event_of(self, experiment):
        run = experiment["tags"].get("firedrill:run")
        if run not in self.runs:
            self.runs = dict(self.rows("SELECT id, trigger_key FROM runs"))
        return self.runs.get(run, "").rsplit(":", 1)[-1]

    def end(self):
        self.process.send_signal(signal.SIGTERM)


def wait_for(side, holds):
    until = time.monotonic() + PATIENCE
    while not holds():
        if side.process.poll() is not None or time.monotonic() > until:
            raise SystemExit(f"bench: the {side.name} did not get so far")
        time.sleep(0.1)


def latencies(side, sent):
    """How long after its sending each event became an experiment, in seconds, and how many did in a second."""
    found, done = {}, False
    while not done:
        until = time.monotonic() + LOOKS_EVERY
        wait_for(side, lambda: side.is_done() or time.monotonic() > until)
        done = side.is_done()
        for experiment in side.simulator.experiments():
            if (of := side.event_of(experiment)) in sent:
                found[of] = datetime.datetime.fromisoformat(experiment["createdAt"]).timestamp()
    if len(found) < len(sent):
        raise SystemExit(f"bench: the {side.name} started {len(found)} of {len(sent)} experiments")
    times = sorted(found.values())
    first, last = share(times, 0.05), share(times, 0.95)
    return sorted(found[of] - at for of, at in sent.items()), 0.9 * len(times) / max(last - first, 1e-3)


def share(values, part):
    return values[min(len(values) - 1, int(len(values) * part))]


def measure(kind, simulator, binary, takes):
    with tempfile.TemporaryDirectory(prefix="firedrill-bench-") as folder:
        side = kind(simulator, binary, Path(folder))
        try:
            # One of each service first, so that both know what they need to know of each.
            latencies(side, simulator.send(SERVICES))
            simulator.slow(takes)
            sent = {}
            for _number in range(SINGLE):
                sent.update(simulator.send(1))
                time.sleep(SPACE)
            single, _rate = latencies(side, sent)
            simulator.slow(takes)
            system = Process(side.process.pid)
            before = system.cpu_seconds()
            sent = simulator.send(BURSTS[takes])
            burst, rate = latencies(side, sent)
            cpu = system.cpu_seconds() - before
        finally:
            side.end()
            side.process.wait(timeout=60)
    figures = {
        "single p50": 1e3 * share(single, 0.5),
        "single p99": 1e3 * share(single, 0.99),
        "backlog p50": 1e3 * share(burst, 0.5),
        "backlog p99": 1e3 * share(burst, 0.99),
        "events per second": rate,
        "CPU µs an event": 1e6 * cpu / len(sent),
    }
    print(f"{side.name:11}" + "".join(f"  {name} {value:,.1f}" for name, value in figures.items()), flush=True)
    return figures


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary")
    parser.add_argument("--rounds", type=int, default=3, help="how often each side is measured; the medians count")
    args = parser.parse_args()
    fast = ["--speed", str(SPEED), "--choice", "initiating-seconds=0", "--choice", "resolving-seconds=0"]
    process = started([args.binary, "simulator", "--quiet", "--listen", "127.0.0.1:0", *fast], env=CREDENTIALS, stdout=subprocess.PIPE)
    try:
        simulator = Simulator(port_in(process.stdout))
        print(f"load of the machine before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
        for takes, burst in BURSTS.items():
            print(f"\na backlog of {burst:,}; calls " + (f"take {takes} ms besides" if takes else "are answered at once"))
            rounds = [[measure(kind, simulator, args.binary, takes) for kind in (Boto, Agent)] for _ in range(args.rounds)]
            compare(rounds)
        print(f"\nload of the machine after: {os.getloadavg()[0]:.1f}")
    finally:
        process.terminate()
        process.wait()
    print(
        f"""
asked for: p50 at most {LATENCY:.2f} of the loop's, events per second at least {THROUGHPUT} times the loop's.

How to read it: milliseconds from just before the send to the instant at which the simulator accepted the experiment;
"single" of events that come one at a time, "backlog" of many sent at once, where most of it is waiting for those before.
Events per second are those of the backlog's middle nine tenths. The agent also
polls each experiment and records its end, and its CPU time is with that; what another program takes of the machine
meanwhile is in all figures."""
    )


def compare(rounds):
    print(f"{'median of the rounds':22} {'boto3 loop':>12} {'agent':>12} {'ratio':>8}")
    for name in rounds[0][0]:
        theirs, ours = (statistics.median(figures[side][name] for figures in rounds) for side in (0, 1))
        print(f"{name:22} {theirs:12,.2f} {ours:12,.2f} {ours / theirs:8.3f}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--loop"]:
        loop(sys.argv[2], json.loads(sys.argv[3]))
    else:
        main()
