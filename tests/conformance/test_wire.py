"""What lies below the SDKs: routes, credentials, percent-encoding, request ids; by plain HTTP."""

from urllib.parse import quote

from harness import ENDPOINT, SEEN, SIGNED, Case, call, raw


class Wire(Case):
    def test_routes_that_are_no_operation_say_so(self):
        for method, path in [
            ("GET", "/"),
            ("GET", "/nothing"),
            ("PUT", "/experiments"),
            ("DELETE", "/actions/aws%3Afis%3Await"),
            ("GET", "/experiments/EXP1/"),
            ("GET", "/experiments//resolvedTargets"),
            # Not encoded, an ARN is several segments.
            ("GET", "/tags/arn:aws:fis:us-east-1:123456789012:experiment/EXP1"),
        ]:
            with self.subTest(method=method, path=path):
                status, headers, body = raw(method, path, headers=SIGNED)
                self.assertEqual((status, headers["x-amzn-errortype"]), (404, "UnknownOperationException"))
                self.assertEqual(set(body), {"message"})

    def test_a_request_without_credentials_is_refused(self):
        for method, path, body in [("GET", "/actions", None), ("POST", "/experiments", {}), ("GET", "/nothing", None)]:
            with self.subTest(method=method, path=path):
                status, headers, reply = raw(method, path, body)
                self.assertEqual((status, headers["x-amzn-errortype"]), (403, "MissingAuthenticationToken"))
                self.assertEqual(set(reply), {"message"})
        self.assertEqual(raw("GET", "/actions", headers=SIGNED)[0], 200)

    def test_labels_are_decoded_after_they_are_routed(self):
        action, kind = "aws:ec2:stop-instances", "aws:ec2:instance"
        for path, member, key, value in [
            (f"/actions/{quote(action, safe='')}", "action", "id", action),
            (f"/actions/{action}", "action", "id", action),
            (f"/targetResourceTypes/{quote(kind, safe='')}", "targetResourceType", "resourceType", kind),
        ]:
            status, _headers, reply = raw("GET", path, headers=SIGNED)
            self.assertEqual((status, reply[member][key]), (200, value))
        template = self.template(tags={"team": "drill"})
        status, _headers, reply = raw("GET", f"/tags/{quote(template['arn'], safe='')}", headers=SIGNED)
        self.assertEqual((status, reply), (200, {"tags": {"team": "drill"}}))

    def test_tag_keys_are_repeated_in_the_query(self):
        template = self.template(tags={"a": "1", "b c": "2", "c": "3"})
        path = f"/tags/{quote(template['arn'], safe='')}"
        status, _headers, reply = raw("DELETE", f"{path}?tagKeys=a&tagKeys=b%20c", headers=SIGNED)
        self.assertEqual((status, reply), (200, {}))
        self.assertEqual(call("ListTagsForResource", resourceArn=template["arn"])["tags"], {"c": "3"})

    def test_every_reply_has_a_request_id_of_its_own(self):
        first = len(SEEN)
        for _number in range(3):
            call("ListActions", maxResults=1)
        ids = {reply.request_id for reply in SEEN[first:]}
        self.assertEqual(len(ids), 3, ids)
        self.assertTrue(raw("GET", "/nothing", headers=SIGNED)[1]["x-amzn-requestid"])
        self.assertTrue(raw("GET", "/actions")[1]["x-amzn-requestid"])

    def test_bodies_that_cannot_be_read_are_refused(self):
        for body in ["{", "[]", '"text"', b"\xff\xfe", "{}" * 2, "[" * 10_000]:
            with self.subTest(body=body[:10]):
                status, headers, reply = raw("POST", "/experiments", body, {"content-type": "application/json", **SIGNED})
                self.assertEqual(status, 400, reply)
                self.assertTrue(headers["x-amzn-errortype"])
                self.assertEqual(set(reply), {"message"})

    def test_replies_are_json_by_their_content_type(self):
        for path in ["/actions", "/nothing"]:
            self.assertEqual(raw("GET", path, headers=SIGNED)[1]["content-type"], "application/json", ENDPOINT)
