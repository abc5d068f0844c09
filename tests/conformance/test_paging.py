"""Lists in pages: every paginator that botocore knows for FIS walks the whole list, at any page size, once."""

import json

import harness
from harness import ROLE, VALIDATION, Case, call, client, instances, model, stop_instances, until, wait_action

# Operation and member of its list; the arguments are made in the test.
PAGED = {
    "ListActions": "actions",
    "ListTargetResourceTypes": "targetResourceTypes",
    "ListExperimentTemplates": "experimentTemplates",
    "ListExperiments": "experiments",
    "ListExperimentResolvedTargets": "resolvedTargets",
    "ListTargetAccountConfigurations": "targetAccountConfigurations",
}
# Things made for each list.
COUNT = 3


class Paging(Case):
    def arguments(self):
        template = self.template(
            actions={"stop": stop_instances(), "wait": wait_action()},
            targets={"instances": instances()},
            experimentOptions={"accountTargeting": "multi-account"},
        )["id"]
        for number in range(COUNT):
            configuration = {"experimentTemplateId": template, "accountId": f"20000000000{number}", "roleArn": ROLE}
            call("CreateTargetAccountConfiguration", **configuration)
        experiments = [self.start(template)["id"] for _number in range(COUNT)]
        until(experiments[0], "running")
        for _number in range(COUNT):
            self.template()
        return {
            "ListExperiments": {"experimentTemplateId": template},
            "ListExperimentResolvedTargets": {"experimentId": experiments[0]},
            "ListTargetAccountConfigurations": {"experimentTemplateId": template},
        }

    def test_every_paginator_walks_its_whole_list(self):
        known = {name for name in model().operation_names if client("fis").can_paginate(harness.xform_name(name))}
        self.assertEqual(set(PAGED), known)
        arguments = self.arguments()
        for operation, member in PAGED.items():
            walks = {}
            for size in [1, 2, 100]:
                with self.subTest(operation=operation, size=size):
                    walks[size] = self.walk(operation, member, size, arguments.get(operation, {}))
            self.assertEqual(walks[1], walks[100], operation)
            self.assertEqual(walks[2], walks[100], operation)

    def walk(self, operation, member, size, arguments):
        """The list as a paginator collects it, after a look at each of its pages."""
        paginator = client("fis").get_paginator(harness.xform_name(operation))
        pages = list(paginator.paginate(**arguments, PaginationConfig={"PageSize": size}))
        for page in pages[:-1]:
            self.assertEqual(len(page[member]), size)
            self.assertRegex(page["nextToken"], r"\A\S{1,1024}\Z")
        self.assertLessEqual(len(pages[-1][member]), size)
        self.assertNotIn("nextToken", pages[-1])
        items = [json.dumps(item, sort_keys=True, default=str) for page in pages for item in page[member]]
        self.assertGreaterEqual(len(items), COUNT)
        self.assertEqual(len(set(items)), len(items), "an item came twice")
        return items

    def test_a_list_without_a_page_size_also_comes_in_pages(self):
        first = call("ListActions")
        self.assertIn("nextToken", first)
        whole = [item["id"] for page in client("fis").get_paginator("list_actions").paginate() for item in page["actions"]]
        self.assertEqual(len(set(whole)), len(whole))
        self.assertEqual([item["id"] for item in first["actions"]], whole[: len(first["actions"])])

    def test_a_token_of_another_list_is_refused(self):
        token = call("ListActions", maxResults=1)["nextToken"]
        self.refused(VALIDATION, "ListTargetResourceTypes", nextToken=token)
        self.refused(VALIDATION, "ListActions", nextToken="x" * 1025)

    def test_a_list_is_emptied_while_it_is_paged(self):
        template = self.template(experimentOptions={"accountTargeting": "multi-account"})["id"]
        for number in range(2 * COUNT):
            configuration = {"experimentTemplateId": template, "accountId": f"20000000000{number}", "roleArn": ROLE}
            call("CreateTargetAccountConfiguration", **configuration)
        paginator = client("fis").get_paginator("list_target_account_configurations")
        deleted = 0
        for page in paginator.paginate(experimentTemplateId=template, PaginationConfig={"PageSize": 2}):
            for item in page["targetAccountConfigurations"]:
                call("DeleteTargetAccountConfiguration", experimentTemplateId=template, accountId=item["accountId"])
                deleted += 1
        self.assertEqual(deleted, 2 * COUNT)

    def test_what_is_added_between_pages_shifts_nothing(self):
        for _number in range(COUNT):
            self.template()
        first = call("ListExperimentTemplates", maxResults=1)
        self.template()
        rest = call("ListExperimentTemplates", maxResults=100, nextToken=first["nextToken"])
        self.assertNotIn(first["experimentTemplates"][0]["id"], [item["id"] for item in rest["experimentTemplates"]])
