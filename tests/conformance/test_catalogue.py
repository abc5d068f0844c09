"""The catalogue of actions and target resource types: each one is readable, and they fit together."""

from harness import REGION, Case, call, client

# The guide's page of actions still has this name; its page of targets has it without `redis-`.
FORMER_NAME = "aws:elasticache:redis-replicationgroup"


def everything(operation, member):
    return [item for page in client("fis").get_paginator(operation).paginate() for item in page[member]]


class Catalogue(Case):
    def test_every_action_can_be_read_and_names_known_types(self):
        types = {item["resourceType"] for item in everything("list_target_resource_types", "targetResourceTypes")}
        actions = everything("list_actions", "actions")
        # The AWS FIS user guide's reference lists 50 (fis-actions-reference).
        self.assertGreaterEqual(len(actions), 50)
        for short in actions:
            with self.subTest(action=short["id"]):
                action = call("GetAction", id=short["id"])["action"]
                self.assertRegex(action["arn"], rf"\Aarn:aws:fis:{REGION}:\d{{12}}:action/{short['id']}\Z")
                self.assertTrue(action["description"])
                self.assertEqual({member: action.get(member) for member in short}, short)
                self.assertEqual(set(action) - set(short), {"parameters"})
                for parameter in action["parameters"].values():
                    self.assertEqual(set(parameter), {"description", "required"})
                named = {target["resourceType"] for target in action.get("targets", {}).values()}
                self.assertLessEqual(named - {FORMER_NAME}, types)

    def test_every_target_resource_type_can_be_read(self):
        for short in everything("list_target_resource_types", "targetResourceTypes"):
            with self.subTest(kind=short["resourceType"]):
                kind = call("GetTargetResourceType", resourceType=short["resourceType"])["targetResourceType"]
                self.assertEqual({member: kind[member] for member in short}, short)
                self.assertTrue(kind["description"])

    def test_what_aws_documents_of_some_of_them(self):
        wait = call("GetAction", id="aws:fis:wait")["action"]
        self.assertNotIn("targets", wait)
        self.assertEqual({name: item["required"] for name, item in wait["parameters"].items()}, {"duration": True})
        stop = call("GetAction", id="aws:ec2:stop-instances")["action"]
        self.assertEqual(stop["targets"], {"Instances": {"resourceType": "aws:ec2:instance"}})
        self.assertFalse(stop["parameters"]["startInstancesAfterDuration"]["required"])
        self.assertEqual(call("GetAction", id="aws:ec2:reboot-instances")["action"]["parameters"], {})
        custom = call("GetAction", id="aws:eks:inject-kubernetes-custom-resource")["action"]
        self.assertEqual(custom["targets"], {"Cluster": {"resourceType": "aws:eks:cluster"}})
        pod = call("GetTargetResourceType", resourceType="aws:eks:pod")["targetResourceType"]["parameters"]
        required = {name for name, parameter in pod.items() if parameter["required"]}
        self.assertEqual(required, {"clusterIdentifier", "namespace", "selectorType", "selectorValue"})

    def test_actions_can_be_tagged(self):
        action = call("GetAction", id="aws:fis:wait")["action"]
        arn, before = action["arn"], action["tags"]
        call("TagResource", resourceArn=arn, tags={"conform": "1"})
        self.addCleanup(call, "UntagResource", resourceArn=arn, tagKeys=["conform"])
        self.assertEqual(call("ListTagsForResource", resourceArn=arn)["tags"], {**before, "conform": "1"})
        self.assertEqual(call("GetAction", id="aws:fis:wait")["action"]["tags"], {**before, "conform": "1"})
