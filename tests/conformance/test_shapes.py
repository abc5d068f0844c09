"""The checker of replies can fail: replies that are wrong in one point each, and right ones."""

import json
import unittest

import botocore.session

import harness
import shapes

FIS = botocore.session.get_session().get_service_model("fis")
LEVER = {"id": "default", "arn": "arn:aws:fis:us-east-1:123456789012:safety-lever/default"}
ID = {"x-amzn-RequestId": "1"}

# Operation, body of a success, and what must be found wrong with it.
WRONG_SUCCESSES = [
    ("GetSafetyLever", {"safetyLever": {**LEVER, "colour": "red"}}, "no such member of SafetyLever"),
    ("GetSafetyLever", {"safetyLever": LEVER, "extra": 1}, "no such member of GetSafetyLeverResponse"),
    ("GetSafetyLever", {"safetyLever": {**LEVER, "state": {"status": "broken"}}}, "is none of"),
    ("GetSafetyLever", {"safetyLever": {**LEVER, "id": 1}}, "is not a string"),
    ("GetSafetyLever", {"safetyLever": {**LEVER, "id": "x" * 65}}, "more than 64"),
    ("GetSafetyLever", {"safetyLever": [LEVER]}, "not an object"),
    ("GetSafetyLever", {"safetyLever": None}, "null"),
    ("GetSafetyLever", {}, "missing"),
    ("GetSafetyLever", [], "not an object"),
    ("TagResource", {"tags": {}}, "no such member"),
    ("ListTagsForResource", {"tags": {"a": None}}, "null"),
    ("ListTagsForResource", {"tags": {"k" * 129: "v"}}, "more than 128"),
    ("ListTagsForResource", {"tags": {str(key): "v" for key in range(51)}}, "more than 50"),
    ("ListExperiments", {"experiments": {}}, "not a list"),
    ("ListExperiments", {"experiments": [], "nextToken": 5}, "is not a string"),
    ("ListExperiments", {"experiments": [{"startTime": 1.5}]}, "no such member of ExperimentSummary"),
    ("GetExperiment", {"experiment": {"creationTime": "2026-01-01T00:00:00Z"}}, "is not a timestamp"),
    ("GetExperiment", {"experiment": {"creationTime": True}}, "is not a timestamp"),
    ("GetExperiment", {"experiment": {"creationTime": 1616432464.0251}}, "finer than milliseconds"),
    ("GetExperiment", {"experiment": {"targetAccountConfigurationsCount": "1"}}, "is not a long"),
    ("GetExperiment", {"experiment": {"targets": {"t": {"resourceArns": ["arn:aws:s3:::bucket/"] * 6}}}}, "more than 5"),
    ("GetExperiment", {"experiment": {"actions": {"a": {"state": {"error": {}}}}}}, "no such member"),
    ("GetAction", {"action": {"parameters": {"p": {"required": "true"}}}}, "is not a boolean"),
]
RIGHT = [
    ("GetSafetyLever", {"safetyLever": {**LEVER, "state": {"status": "disengaged", "reason": ""}}}),
    ("GetExperiment", {"experiment": {"creationTime": 1616432464.025, "startTime": 1616432465}}),
    ("ListExperiments", {"experiments": [], "nextToken": "x"}),
    ("TagResource", {}),
]
# Operation, status, code in the header, body, and what must be found wrong with it.
WRONG_ERRORS = [
    ("GetAction", 404, "ResourceNotFoundException", {}, "message"),
    ("GetAction", 404, "ResourceNotFoundException", {"message": "x" * 1025}, "message"),
    ("GetAction", 404, "ResourceNotFoundException", {"message": "no", "code": "x"}, "no such member"),
    ("GetAction", 400, "ResourceNotFoundException", {"message": "no"}, "and not 404"),
    ("GetAction", 409, "ConflictException", {"message": "no"}, "not an error of this operation"),
    ("GetAction", 400, "", {"message": "no"}, "not an error of this operation"),
    ("StartExperiment", 400, "ServiceQuotaExceededException", {"message": "no"}, "and not 402"),
    ("StartExperiment", 201, "", {"experiment": {}}, "not an error of this operation"),
]


class Checker(unittest.TestCase):
    def found(self, operation, status, headers, body):
        return shapes.problems(FIS.operation_model(operation), status, headers, body)

    def test_wrong_successes_are_found(self):
        for operation, reply, expected in WRONG_SUCCESSES:
            with self.subTest(reply=reply):
                found = self.found(operation, 200, ID, json.dumps(reply).encode())
                self.assertEqual(len(found), 1, found)
                self.assertIn(expected, found[0])

    def test_wrong_errors_are_found(self):
        for operation, status, code, reply, expected in WRONG_ERRORS:
            with self.subTest(code=code, reply=reply):
                headers = {**ID, **({"X-Amzn-ErrorType": code} if code else {})}
                self.assertIn(expected, " ".join(self.found(operation, status, headers, json.dumps(reply).encode())))

    def test_what_is_not_json_is_found(self):
        for body in [b"", b"{", b'{"tags": {"a": "1", "a": "2"}}', b'{"tags": NaN}', b"\xff"]:
            with self.subTest(body=body):
                found = self.found("ListTagsForResource", 200, ID, body)
                self.assertEqual(len(found), 1, found)
                self.assertIn("not JSON", found[0])

    def test_a_missing_request_id_is_found(self):
        self.assertEqual(self.found("TagResource", 200, {}, b"{}"), ["no x-amzn-RequestId"])

    def test_required_members_are_asked_for(self):
        model = botocore.session.get_session().get_service_model("ssm").operation_model("ListTagsForResource")
        tag = {"TagList": [{"Key": "only"}]}
        self.assertEqual(len(shapes.problems(model, 200, ID, json.dumps(tag).encode())), 1)

    def test_right_replies_pass(self):
        for operation, reply in RIGHT:
            self.assertEqual(self.found(operation, 200, ID, json.dumps(reply).encode()), [])
        error = json.dumps({"message": "no"}).encode()
        headers = {**ID, "x-amzn-errortype": "ResourceNotFoundException"}
        self.assertEqual(self.found("GetAction", 404, headers, error), [])


class Hook(harness.Case):
    """The checker sees what really comes over the wire: replies that the simulator bends on request are caught."""

    def test_bent_replies_are_caught_on_their_way_in(self):
        template = self.template(tags={"a": "1"})
        self.addCleanup(harness.raw, "DELETE", "/_simulator/faults")
        for operation, arguments, fault, expected in [
            ("GetExperimentTemplate", {"id": template["id"]}, "null-in-map", "null"),
            ("ListTagsForResource", {"resourceArn": template["arn"]}, "null-in-map", "null"),
            ("GetSafetyLever", {"id": harness.LEVER}, "unknown-status", "is none of"),
        ]:
            with self.subTest(operation=operation):
                harness.control("faults", {"operation": operation, "count": 1, "fault": fault})
                with self.assertRaisesRegex(AssertionError, expected):
                    harness.call(operation, **arguments)

    def test_replies_of_the_services_around_fis_are_seen_too(self):
        first = len(harness.SEEN)
        harness.client("sqs").list_queues()
        harness.client("events").list_rules()
        self.assertEqual([reply.operation for reply in harness.SEEN[first:]], ["ListQueues", "ListRules"])
