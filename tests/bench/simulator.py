"""How fast the simulator answers and what an experiment costs it in memory; figures, not a test.

Requests go over keep-alive connections on loopback, one at a time on each, and are made before the clock starts. What a
machine does in a second says little about another machine, so each figure stands beside a floor that was measured in the
same seconds: GetSafetyLever, which looks at one value. How to read the table is printed below it.
"""

import importlib.util
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections import defaultdict

# As many as may be active at once (AWS FIS user guide, fis-quotas), and so as many connections.
ACTIVE = 5
EXPERIMENTS = 10_000
# Templates made and deleted at each server; moto needs a millisecond or more for each.
TEMPLATES = 1_000
PATIENCE = 30
FLOOR = "GetSafetyLever"
HEAD = (
    "{} {} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    "authorization: AWS4-HMAC-SHA256 Credential=bench/20260101/us-east-1/fis/aws4_request, "
    "SignedHeaders=host;x-amz-date, Signature=0\r\nx-amz-date: 20260101T000000Z\r\ncontent-length: {}\r\n\r\n"
)
# Serves on a port of the system's choice and ends with this process.
MOTO = """
import os, sys, threading
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
from moto.server import main
main(["-H", "127.0.0.1", "-p", "0"])
"""


class Connection:
    """One keep-alive connection; it is opened anew where the server closes it."""

    def __init__(self, port):
        self.port, self.socket = port, None

    def send(self, request):
        if self.socket is None:
            self.socket = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(request)

    def reply(self):
        data = b""
        while b"\r\n\r\n" not in data:
            data += self.more()
        head, body = data.split(b"\r\n\r\n", 1)
        head = head.lower()
        length = int(re.search(rb"content-length: (\d+)", head)[1])
        while len(body) < length:
            body += self.more()
        if b"connection: close" in head or head.startswith(b"http/1.0"):
            self.socket.close()
            self.socket = None
        if b" 200 " not in head[:16]:
            raise SystemExit(f"bench: {head.splitlines()[0].decode()}: {body.decode()[:500]}")
        return body

    def more(self):
        data = self.socket.recv(65536)
        if not data:
            raise SystemExit("bench: the server closed a connection within a reply")
        return data


class Server:
    """Connections to a server, and how long it took for what."""

    def __init__(self, port):
        self.connections = [Connection(port) for _number in range(ACTIVE)]
        self.seconds = defaultdict(list)

    def ask(self, name, requests):
        """Sends one request over each connection, waits for all replies, and notes the time."""
        began = time.perf_counter()
        for connection, request in zip(self.connections, requests):
            connection.send(request)
        replies = [connection.reply() for connection, _request in zip(self.connections, requests)]
        self.seconds[name].append((time.perf_counter() - began) / len(requests))
        return [json.loads(reply) for reply in replies]

    def rate(self, name, part=slice(None)):
        """Requests per second in the faster half of the rounds, so that what else the machine does counts less."""
        seconds = sorted(self.seconds[name][part])
        kept = seconds[: max(1, len(seconds) // 2)]
        return len(kept) / sum(kept)


def request(method, path, body=None):
    data = b"" if body is None else json.dumps(body).encode()
    return HEAD.format(method, path, len(data)).encode() + data


def template(token):
    wait = {"actionId": "aws:fis:wait", "parameters": {"duration": "PT1M"}}
    return {
        "clientToken": token,
        "description": "a benchmark",
        "roleArn": "arn:aws:iam::123456789012:role/bench",
        "stopConditions": [{"source": "none"}],
        "actions": {"first": wait, "second": {**wait, "startAfter": ["first"]}},
    }


def templates(server):
    """Makes and deletes templates."""
    for number in range(TEMPLATES // ACTIVE):
        create = [request("POST", "/experimentTemplates", template(f"t-{number}-{at}")) for at in range(ACTIVE)]
        made = server.ask("CreateExperimentTemplate", create)
        paths = [f"/experimentTemplates/{reply['experimentTemplate']['id']}" for reply in made]
        server.ask("DeleteExperimentTemplate", [request("DELETE", path) for path in paths])


def experiments(server, resident):
    """Starts, reads and stops experiments, five at a time, each beside the floor; returns memory before and after."""
    made = server.ask("", [request("POST", "/experimentTemplates", template("bench"))])
    chosen = made[0]["experimentTemplate"]["id"]
    floor, jump = request("GET", "/safetyLevers/default"), request("POST", "/_simulator/clock", {"jump": "PT10M"})
    before = resident()
    for number in range(EXPERIMENTS // ACTIVE):
        bodies = [{"clientToken": f"e-{number}-{at}", "experimentTemplateId": chosen} for at in range(ACTIVE)]
        started = server.ask("StartExperiment", [request("POST", "/experiments", body) for body in bodies])
        paths = [f"/experiments/{reply['experiment']['id']}" for reply in started]
        server.ask("GetExperiment", [request("GET", path) for path in paths])
        server.ask(FLOOR, [floor] * ACTIVE)
        server.ask("StopExperiment", [request("DELETE", path) for path in paths])
        # They end in simulated time, and make room for the next ones.
        server.ask("", [jump])
    return before, resident()


def resident_bytes(process):
    with open(f"/proc/{process.pid}/status", encoding="ascii") as status:
        return int(re.search(r"VmRSS:\s+(\d+) kB", status.read())[1]) * 1024


def port_in(stream):
    """The port in the first line that names an address on loopback."""
    for line in stream:
        if found := re.search(r"http://127\.0\.0\.1:(\d+)", line):
            return int(found[1])
    raise SystemExit("bench: a server ended before it said where it is")


def started(command, **pipes):
    quiet = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "text": True}
    return subprocess.Popen(command, **{**quiet, **pipes})


def moto_figures():
    if importlib.util.find_spec("moto") is None:
        return None
    process = started([sys.executable, "-c", MOTO], stderr=subprocess.PIPE)
    try:
        server = Server(port_in(process.stderr))
        # Its log is read by nobody; it must not fill the pipe.
        drain = subprocess.Popen(["cat"], stdin=process.stderr, stdout=subprocess.DEVNULL)
        templates(server)
        return server
    finally:
        process.kill()
        process.wait()
        drain.wait()


def table(server, moto, before, after):
    floor, tenth = server.rate(FLOOR), EXPERIMENTS // ACTIVE // 10
    print(f"{'requests per second':26} {'simulator':>10} {'of floor':>9} {'moto':>8} {'times moto':>11} {'last/first tenth':>17}")
    names = [FLOOR, "StartExperiment", "GetExperiment", "StopExperiment", "CreateExperimentTemplate", "DeleteExperimentTemplate"]
    for name in names:
        rate = server.rate(name)
        theirs = moto.rate(name) if moto and name in moto.seconds else None
        versus = f"{theirs:8,.0f} {rate / theirs:11.1f}" if theirs else f"{'':8} {'':11}"
        drift = server.rate(name, slice(-tenth, None)) / server.rate(name, slice(0, tenth)) if "Template" not in name else None
        print(f"{name:26} {rate:10,.0f} {rate / floor:9.2f} {versus} {f'{drift:.2f}' if drift else '':>17}")
    each = (after - before) / EXPERIMENTS
    print(f"\nmemory: {before / 2**20:.1f} MiB empty, {after / 2**20:.1f} MiB with {EXPERIMENTS:,} ended experiments of two")
    print(f"actions each: {each:,.0f} bytes an experiment")
    print(
        f"""
How to read it: {ACTIVE} connections, one request at a time on each, so a figure is what one driver gets and not the most
that the server can. "of floor" compares with {FLOOR} in the same run: 1.00 means that the operation costs nothing
beside HTTP. "last/first tenth" compares the last thousand experiments with the first: 1.00 means that ten thousand ended
experiments slow nothing down. Only the faster half of all rounds counts. moto has no experiments, only templates, and
closes its connections."""
    )


def main():
    binary = sys.argv[1]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "FIREDRILL_"))}
    process = started([binary, "simulator", "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE, env=environment)
    try:
        server = Server(port_in(process.stdout))
        before, after = experiments(server, lambda: resident_bytes(process))
        templates(server)
    finally:
        process.terminate()
        process.wait()
    table(server, moto_figures(), before, after)


if __name__ == "__main__":
    main()
