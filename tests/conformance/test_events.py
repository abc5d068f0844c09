"""FIS's state changes on the default bus, EventBridge's rules to a queue, and what PutEvents answers."""

import json

import botocore.exceptions

from harness import REGION, Case, call, client, eventually, get, instances, name, stop_instances, until, wait_action

STATE_CHANGE = "FIS Experiment State Change"


class Events(Case):
    def setUp(self):
        self.sqs, self.events = client("sqs"), client("events")

    def queue(self):
        url = self.sqs.create_queue(QueueName=name())["QueueUrl"]
        self.addCleanup(self.sqs.delete_queue, QueueUrl=url)
        attributes = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]
        return url, attributes["QueueArn"]

    def rule_to_queue(self, pattern, bus="default", **target):
        """A rule and the queue that its events arrive in."""
        (url, arn), rule = self.queue(), name()
        self.events.put_rule(Name=rule, EventPattern=json.dumps(pattern), EventBusName=bus)
        self.addCleanup(self.events.delete_rule, Name=rule, EventBusName=bus)
        self.addCleanup(self.events.remove_targets, Rule=rule, Ids=["queue"], EventBusName=bus)
        put = self.events.put_targets(Rule=rule, EventBusName=bus, Targets=[{"Id": "queue", "Arn": arn, **target}])
        self.assertEqual((put["FailedEntryCount"], put["FailedEntries"]), (0, []))
        return rule, url

    def received(self, url, count):
        bodies = []

        def look():
            for message in self.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
                bodies.append(json.loads(message["Body"]))
                self.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            return len(bodies) >= count

        eventually(f"{count} events", look)
        self.assertEqual(len(bodies), count, bodies)
        return bodies

    def changes(self, template, act, *statuses):
        """Events of one experiment, in the order of their states, and the experiment when it has ended."""
        _rule, url = self.rule_to_queue(
            {"source": ["aws.fis"], "detail-type": [STATE_CHANGE], "detail": {"experiment-template-id": [template]}}
        )
        experiment = self.start(template)["id"]
        act(experiment)
        events = self.received(url, len(statuses))
        self.assertEqual({event["detail"]["new-state"]["status"] for event in events}, set(statuses))
        events.sort(key=lambda event: statuses.index(event["detail"]["new-state"]["status"]))
        self.check(events, get(experiment))
        return events

    def check(self, events, experiment):
        """The documented shape, and a chain of states without a gap (AWS FIS user guide, monitoring-eventbridge)."""
        account = experiment["arn"].split(":")[4]
        for event in events:
            fixed = {
                "version": "0",
                "detail-type": STATE_CHANGE,
                "source": "aws.fis",
                "account": account,
                "region": REGION,
                "resources": [experiment["arn"]],
            }
            self.assertEqual({member: event[member] for member in fixed}, fixed)
            self.assertEqual(set(event), {*fixed, "id", "time", "detail"})
            self.assertRegex(event["time"], r"\A\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\Z")
            self.assertRegex(event["id"], r"\A[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")
            self.assertEqual(set(event["detail"]), {"experiment-id", "experiment-template-id", "new-state", "old-state"})
            self.assertEqual(event["detail"]["experiment-id"], experiment["id"])
            for state in ["new-state", "old-state"]:
                self.assertEqual(set(event["detail"][state]), {"status", "reason"})
        self.assertEqual(len({event["id"] for event in events}), len(events))
        states = [event["detail"] for event in events]
        for earlier, later in zip(states, states[1:]):
            self.assertEqual(later["old-state"], earlier["new-state"])
        self.assertEqual(states[0]["old-state"]["status"], "pending")
        last = {"status": experiment["state"]["status"], "reason": experiment["state"]["reason"]}
        self.assertEqual(states[-1]["new-state"], last)

    def test_a_completed_experiment_tells_its_states(self):
        template = self.template()["id"]
        act = lambda experiment: until(experiment, "completed")
        self.changes(template, act, "initiating", "running", "completed")

    def test_a_stopped_experiment_tells_its_states(self):
        def act(experiment):
            until(experiment, "running")
            call("StopExperiment", id=experiment)
            until(experiment, "stopped")

        template = self.template(actions={"wait": wait_action(10)})["id"]
        self.changes(template, act, "initiating", "running", "stopping", "stopped")

    def test_an_experiment_without_targets_tells_its_failure(self):
        # Of three that are found at most, one in a hundred is none.
        template = self.template(
            actions={"stop": stop_instances()}, targets={"instances": instances(selectionMode="PERCENT(1)")}
        )["id"]
        events = self.changes(template, lambda experiment: until(experiment, "failed"), "initiating", "failed")
        self.assertEqual(events[-1]["detail"]["new-state"]["reason"], "Target resolution returned empty set.")
        experiment = get(events[0]["detail"]["experiment-id"])
        self.assertEqual(experiment["state"]["error"]["code"], "InvalidTarget")
        self.assertEqual(experiment["actions"]["stop"]["state"]["status"], "cancelled")

    def entry(self, **members):
        return {"Source": "com.example", "DetailType": "Deployment", "Detail": json.dumps({"state": "done"}), **members}

    def test_rules_lead_matching_events_to_their_queue(self):
        source = name()
        rule, url = self.rule_to_queue({"source": [source], "detail": {"state": [{"prefix": "do"}]}})
        resources = ["arn:aws:s3:::one"]
        put = self.events.put_events(
            Entries=[
                self.entry(Source=source, Resources=resources),
                self.entry(Source=source, Detail=json.dumps({"state": "open"})),
                self.entry(),
            ]
        )
        self.assertEqual(put["FailedEntryCount"], 0)
        [event] = self.received(url, 1)
        self.assertEqual((event["id"], event["source"]), (put["Entries"][0]["EventId"], source))
        self.assertEqual((event["detail-type"], event["resources"]), ("Deployment", resources))
        self.assertEqual(event["detail"], {"state": "done"})
        self.events.disable_rule(Name=rule)
        self.assertEqual(self.events.describe_rule(Name=rule)["State"], "DISABLED")
        self.events.put_events(Entries=[self.entry(Source=source)])
        self.assertNotIn("Messages", self.sqs.receive_message(QueueUrl=url))

    def test_a_bus_of_its_own_keeps_its_events(self):
        bus, source = name(), name()
        self.events.create_event_bus(Name=bus)
        self.addCleanup(self.events.delete_event_bus, Name=bus)
        _rule, url = self.rule_to_queue({"source": [source]}, bus=bus)
        for target in [{}, {"EventBusName": bus}]:
            self.events.put_events(Entries=[self.entry(Source=source, Detail=json.dumps(target), **target)])
        [event] = self.received(url, 1)
        self.assertEqual(event["detail"], {"EventBusName": bus})

    def test_put_events_answers_for_each_entry(self):
        for code, members in [
            ("MalformedDetail", {"Detail": "{"}),
            ("MalformedDetail", {"Detail": "[]"}),
            ("NotAuthorizedForSourceException", {"Source": "aws.fis"}),
            ("InvalidArgument", {"Source": ""}),
            ("InvalidArgument", {"DetailType": ""}),
        ]:
            with self.subTest(code=code, members=members):
                put = self.events.put_events(Entries=[self.entry(**members), self.entry()])
                self.assertEqual((put["FailedEntryCount"], put["Entries"][0]["ErrorCode"]), (1, code))
                self.assertTrue(put["Entries"][0]["ErrorMessage"])
                self.assertIn("EventId", put["Entries"][1])
        for entries in [[], [self.entry()] * 11]:
            self.refused_with("ValidationException", "put_events", Entries=entries)

    def test_rules_that_cannot_be_are_refused(self):
        self.refused_with("InvalidEventPatternException", "put_rule", Name=name(), EventPattern='{"source": "text"}')
        self.refused_with("ResourceNotFoundException", "describe_rule", Name=name())
        rule, _url = self.rule_to_queue({"source": [name()]})
        self.refused_with("ValidationException", "delete_rule", Name=rule)
        # The simulator knows no input transformers; it must not take one and then leave it out.
        transformer = {"InputPathsMap": {"id": "$.id"}, "InputTemplate": '"<id>"'}
        _queue, arn = self.queue()
        try:
            put = self.events.put_targets(Rule=rule, Targets=[{"Id": "t", "Arn": arn, "InputTransformer": transformer}])
            self.assertEqual(put["FailedEntryCount"], 1)
        except botocore.exceptions.ClientError as error:
            self.assertIn("InputTransformer", error.response["Error"]["Message"])

    def test_tags_of_a_rule_are_those_of_its_making_and_of_later_calls(self):
        rule, pattern = name(), json.dumps({"source": [name()]})
        arn = self.events.put_rule(Name=rule, EventPattern=pattern, Tags=[{"Key": "by", "Value": "us"}])["RuleArn"]
        self.addCleanup(self.events.delete_rule, Name=rule)
        self.events.put_rule(Name=rule, EventPattern=pattern, Tags=[{"Key": "by", "Value": "others"}])
        self.events.tag_resource(ResourceARN=arn, Tags=[{"Key": "for", "Value": "tests"}])
        tags = {tag["Key"]: tag["Value"] for tag in self.events.list_tags_for_resource(ResourceARN=arn)["Tags"]}
        self.assertEqual(tags, {"by": "us", "for": "tests"})
        self.events.untag_resource(ResourceARN=arn, TagKeys=["by"])
        tags = self.events.list_tags_for_resource(ResourceARN=arn)["Tags"]
        self.assertEqual(tags, [{"Key": "for", "Value": "tests"}])
        missing = f"{arn}-missing"
        self.refused_with("ResourceNotFoundException", "list_tags_for_resource", ResourceARN=missing)
        self.refused_with("ResourceNotFoundException", "untag_resource", ResourceARN=missing, TagKeys=["by"])
        wrong = [{"Key": "aws:by", "Value": ""}]
        self.refused_with("ValidationException", "tag_resource", ResourceARN=arn, Tags=wrong)

    def refused_with(self, code, operation, **arguments):
        with self.assertRaises(botocore.exceptions.ClientError) as caught:
            getattr(self.events, operation)(**arguments)
        self.assertEqual(caught.exception.response["Error"]["Code"], code)
