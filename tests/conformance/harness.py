"""What all tests share: clients that check every raw reply, things to work on, waiting, and the simulator's own interface.

Everything made here has a name of its own and is removed when its test ends, so that the suite can run again and again on
one simulator. Time is not waited for: the simulator's clock is moved on.
"""

import functools
import http.client
import json
import os
import time
import unittest
import uuid
from dataclasses import dataclass
from urllib.parse import urlsplit

import boto3
import botocore.exceptions
from botocore import xform_name
from botocore.config import Config

import shapes

ENDPOINT = os.environ["AWS_ENDPOINT_URL"]
REGION = os.environ["AWS_REGION"]
ROLE = "arn:aws:iam::123456789012:role/drill"
LEVER = "default"
OK = "OK"
VALIDATION = "ValidationException"
NOT_FOUND = "ResourceNotFoundException"
CONFLICT = "ConflictException"
QUOTA = "ServiceQuotaExceededException"
ENDED = {"completed", "stopped", "failed", "cancelled"}
# Longest wait for anything, in seconds.
PATIENCE = 20
# Services, by botocore's ids, whose raw replies are JSON and can be held against their shapes.
CHECKED = ["fis", "sqs", "eventbridge", "ssm"]


@dataclass(frozen=True)
class Seen:
    """A reply that came over the wire."""

    operation: str
    outcome: str
    status: int
    request_id: str


# Every reply to an SDK or the CLI so far.
SEEN = []


def check_reply(operation_model, response_dict, **_others):
    """Before botocore parses a reply: refuses what does not fit the model."""
    status, headers = response_dict["status_code"], response_dict["headers"]
    code = headers.get("x-amzn-errortype") or (OK if status == 200 else str(status))
    SEEN.append(Seen(operation_model.name, code, status, headers.get("x-amzn-requestid", "")))
    found = shapes.problems(operation_model, status, headers, response_dict["body"])
    if found:
        raise AssertionError(f"{operation_model.name}, HTTP {status}: " + "; ".join(found))


def watch(session):
    """Makes a botocore session check the replies of all its clients."""
    for service in CHECKED:
        session.register(f"before-parse.{service}", check_reply)


@functools.cache
def client(service):
    """A client that sends what it is given, once, and checks what comes back."""
    session = boto3.session.Session()
    watch(session._session)
    retries = {"total_max_attempts": 1, "mode": "standard"}
    return session.client(service, config=Config(parameter_validation=False, retries=retries, read_timeout=PATIENCE))


def call(operation, **arguments):
    """Calls an operation of FIS by its name in the model."""
    return getattr(client("fis"), xform_name(operation))(**arguments)


def model():
    """botocore's model of FIS."""
    return client("fis").meta.service_model


def control(path, body, method="POST"):
    """Calls the simulator's own interface, which AWS does not have."""
    status, _headers, reply = raw(method, f"/_simulator/{path}", body)
    assert status == 200, (path, body, status, reply)
    return reply


def jump(duration):
    """Moves the simulator's clock ahead."""
    control("clock", {"jump": duration})


def raw(method, path, body=None, headers=None):
    """A plain request without any SDK: status, headers with lower-case names, and the body, read as JSON."""
    url = urlsplit(ENDPOINT)
    connection = http.client.HTTPConnection(url.hostname, url.port, timeout=PATIENCE)
    try:
        data = None if body is None else body if isinstance(body, (bytes, str)) else json.dumps(body)
        sent = {} if data is None else {"content-type": "application/json"}
        connection.request(method, path, body=data, headers={**sent, **(headers or {})})
        reply = connection.getresponse()
        text = reply.read()
        return reply.status, {name.lower(): value for name, value in reply.getheaders()}, json.loads(text or b"null")
    finally:
        connection.close()


# What a request of a known user carries; only its presence is looked at.
SIGNED = {
    "authorization": f"AWS4-HMAC-SHA256 Credential=key/20260101/{REGION}/fis/aws4_request, "
    "SignedHeaders=host;x-amz-date, Signature=" + "0" * 64,
    "x-amz-date": "20260101T000000Z",
}


def eventually(what, look):
    """Looks again until there is an answer."""
    until = time.monotonic() + PATIENCE
    while not (found := look()):
        assert time.monotonic() < until, f"waited {PATIENCE} s in vain: {what}"
        time.sleep(0.01)
    return found


def name():
    """A name that nobody else has."""
    return f"conform-{uuid.uuid4().hex[:16]}"


def wait_action(minutes=1, **members):
    return {"actionId": "aws:fis:wait", "parameters": {"duration": f"PT{minutes}M"}, **members}


def stop_instances(target="instances", **members):
    return {"actionId": "aws:ec2:stop-instances", "targets": {"Instances": target}, **members}


def instances(**members):
    return {"resourceType": "aws:ec2:instance", "selectionMode": "ALL", "resourceTags": {"env": "test"}, **members}


def draft(**members):
    """Arguments of CreateExperimentTemplate: one action that waits a minute, and what is given."""
    return {
        "clientToken": name(),
        "description": "a conformance check",
        "roleArn": ROLE,
        "stopConditions": [{"source": "none"}],
        "actions": {"wait": wait_action()},
        **members,
    }


class Case(unittest.TestCase):
    """A test with things of its own at the endpoint."""

    maxDiff = None

    def template(self, **members):
        """Makes a template; it is deleted when the test ends."""
        made = call("CreateExperimentTemplate", **draft(**members))["experimentTemplate"]
        self.addCleanup(self.delete_template, made["id"])
        return made

    @staticmethod
    def delete_template(template_id):
        try:
            call("DeleteExperimentTemplate", id=template_id)
        except botocore.exceptions.ClientError as error:
            assert error.response["Error"]["Code"] == NOT_FOUND, error

    def start(self, template_id, **members):
        """Starts an experiment; it is ended when the test ends."""
        arguments = {"clientToken": name(), "experimentTemplateId": template_id, **members}
        experiment = call("StartExperiment", **arguments)["experiment"]
        self.addCleanup(end, experiment["id"])
        return experiment

    def refused(self, code, operation, **arguments):
        """Calls an operation and expects an error; returns its message."""
        with self.assertRaises(botocore.exceptions.ClientError) as caught:
            call(operation, **arguments)
        error = caught.exception.response["Error"]
        self.assertEqual(error["Code"], code, error)
        return error["Message"]


def get(experiment_id):
    return call("GetExperiment", id=experiment_id)["experiment"]


def until(experiment_id, *statuses, step="PT5S"):
    """Moves the clock on until an experiment has one of some statuses."""

    def look():
        experiment = get(experiment_id)
        status = experiment["state"]["status"]
        if status in statuses:
            return experiment
        assert status not in ENDED, f"waiting for {statuses}: {experiment['state']}"
        jump(step)
        return None

    return eventually(f"{experiment_id} to be {statuses}", look)


def end(experiment_id):
    """Ends an experiment if it has not ended."""
    if get(experiment_id)["state"]["status"] not in {*ENDED, "stopping"}:
        call("StopExperiment", id=experiment_id)
    until(experiment_id, *ENDED)


def disengage():
    """Puts the safety lever back."""

    def look():
        if call("GetSafetyLever", id=LEVER)["safetyLever"]["state"]["status"] != "engaging":
            return True
        jump("PT5S")
        return False

    eventually("the safety lever to be engaged", look)
    call("UpdateSafetyLeverState", id=LEVER, state={"status": "disengaged", "reason": "the check is over"})


def listed(service, operation, member, key):
    """What a list operation of a service names, over all its pages."""
    pages = client(service).get_paginator(operation).paginate()
    return {key(item) for page in pages for item in page.get(member, [])}


def belongings():
    """Names of everything at the endpoint that does not go away by itself."""
    experiments = call("ListExperiments", maxResults=100)["experiments"]
    return {
        "templates": listed("fis", "list_experiment_templates", "experimentTemplates", lambda item: item["id"]),
        "active experiments": {item["id"] for item in experiments if item["state"]["status"] not in ENDED},
        "safety lever": {call("GetSafetyLever", id=LEVER)["safetyLever"]["state"]["status"]} - {"disengaged"},
        "queues": set(client("sqs").list_queues().get("QueueUrls", [])),
        "rules": {item["Name"] for item in client("events").list_rules()["Rules"]},
        "alarms": listed("cloudwatch", "describe_alarms", "MetricAlarms", lambda item: item["AlarmName"]),
        "buses": {item["Name"] for item in client("events").list_event_buses()["EventBuses"]},
    }
