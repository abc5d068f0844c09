"""What FIS's operations mean: templates, starts, stops, previews, tokens, tags, reports, the safety lever."""

import botocore.exceptions

from harness import (
    CONFLICT,
    LEVER,
    NOT_FOUND,
    REGION,
    ROLE,
    VALIDATION,
    Case,
    call,
    disengage,
    draft,
    end,
    get,
    instances,
    jump,
    name,
    stop_instances,
    until,
    wait_action,
)

INSTANCE = f"arn:aws:ec2:{REGION}:123456789012:instance/i-0123456789abcdef0"
ID = r"[1-9A-HJ-NP-Za-km-z]"


class Templates(Case):
    def test_a_template_comes_back_as_it_was_given(self):
        given = draft(
            actions={
                "first": wait_action(2, description="a pause"),
                "second": stop_instances(startAfter=["first"], parameters={"startInstancesAfterDuration": "PT3M"}),
            },
            targets={
                "instances": instances(
                    selectionMode="COUNT(1)", filters=[{"path": "State.Name", "values": ["running", "pending"]}]
                )
            },
            stopConditions=[{"source": "aws:cloudwatch:alarm", "value": f"arn:aws:cloudwatch:{REGION}:123456789012:alarm:a"}],
            tags={"team": "drill"},
            logConfiguration={
                "logSchemaVersion": 2,
                "cloudWatchLogsConfiguration": {"logGroupArn": f"arn:aws:logs:{REGION}:123456789012:log-group:fis:*"},
            },
            experimentOptions={"accountTargeting": "single-account", "emptyTargetResolutionMode": "skip"},
            experimentReportConfiguration={
                "outputs": {"s3Configuration": {"bucketName": "reports", "prefix": "drill"}},
                "dataSources": {"cloudWatchDashboards": [{"dashboardIdentifier": "arn:aws:cloudwatch::1:dashboard/d"}]},
                "preExperimentDuration": "PT5M",
                "postExperimentDuration": "PT10M",
            },
        )
        made = call("CreateExperimentTemplate", **given)["experimentTemplate"]
        self.addCleanup(self.delete_template, made["id"])
        self.assertRegex(made["id"], rf"\AEXT{ID}{{14}}\Z")
        self.assertRegex(made["arn"], rf"\Aarn:aws:fis:{REGION}:\d{{12}}:experiment-template/{made['id']}\Z")
        self.assertEqual(made["creationTime"], made["lastUpdateTime"])
        for member in set(given) - {"clientToken", "actions"}:
            self.assertEqual(made[member], given[member], member)
        self.assertEqual(made["actions"]["second"], given["actions"]["second"])
        # As AWS CLI examples show it: without targets, but with its parameters.
        self.assertNotIn("targets", made["actions"]["first"])
        self.assertEqual(call("GetExperimentTemplate", id=made["id"])["experimentTemplate"], made)
        self.assertEqual(call("DeleteExperimentTemplate", id=made["id"])["experimentTemplate"]["id"], made["id"])

    def test_what_is_not_given_gets_the_defaults(self):
        made = self.template()
        self.assertEqual(made["experimentOptions"], {"accountTargeting": "single-account", "emptyTargetResolutionMode": "fail"})
        self.assertEqual(made["tags"], {})
        self.assertEqual(made.get("targets", {}), {})
        self.assertEqual(made.get("targetAccountConfigurationsCount", 0), 0)
        for member in ["logConfiguration", "experimentReportConfiguration"]:
            self.assertNotIn(member, made)

    def test_an_update_changes_what_it_names(self):
        made = self.template(tags={"a": "1"})
        jump("PT1S")
        changed = call("UpdateExperimentTemplate", id=made["id"], description="changed")["experimentTemplate"]
        self.assertEqual(changed["description"], "changed")
        self.assertGreater(changed["lastUpdateTime"], made["lastUpdateTime"])
        for member in set(made) - {"description", "lastUpdateTime"}:
            self.assertEqual(changed[member], made[member], member)
        options = {"emptyTargetResolutionMode": "skip"}
        changed = call("UpdateExperimentTemplate", id=made["id"], experimentOptions=options)["experimentTemplate"]
        self.assertEqual(changed["experimentOptions"], {"accountTargeting": "single-account", **options})

    def test_a_list_names_a_template_in_short(self):
        made = self.template(tags={"a": "1"})
        pages = (call("ListExperimentTemplates", maxResults=100),)
        [short] = [item for page in pages for item in page["experimentTemplates"] if item["id"] == made["id"]]
        members = {"id", "arn", "description", "creationTime", "lastUpdateTime", "tags"}
        self.assertEqual(short, {member: made[member] for member in members})

    def test_quoted_texts_of_aws(self):
        wrong_key = {"wrong": {"actionId": "aws:ec2:send-spot-instance-interruptions", "targets": {"Instances": "spots"},
                               "parameters": {"durationBeforeInterruption": "PT2M"}}}
        targets = {"spots": instances(resourceType="aws:ec2:spot-instance")}
        text = self.refused(VALIDATION, "CreateExperimentTemplate", **draft(actions=wrong_key, targets=targets))
        self.assertEqual(text, 'Unexpected target "Instances" found in action "wrong".')
        targets = {"instances": instances(resourceArns=[INSTANCE])}
        text = self.refused(VALIDATION, "CreateExperimentTemplate", **draft(actions={"a": stop_instances()}, targets=targets))
        self.assertEqual(text, "You cannot specify both resource ARNs and resource tags for target instances.")


class Experiments(Case):
    def test_an_experiment_from_start_to_end(self):
        actions = {"first": wait_action(), "second": wait_action(startAfter=["first"])}
        template = self.template(actions=actions, tags={"not": "copied"})
        started = self.start(template["id"], tags={"run": "1"})
        self.assertRegex(started["id"], rf"\AEXP{ID}{{15,16}}\Z")
        self.assertRegex(started["arn"], rf"\Aarn:aws:fis:{REGION}:\d{{12}}:experiment/{started['id']}\Z")
        self.assertEqual(started["state"], {"status": "initiating", "reason": "Experiment is initiating."})
        self.assertEqual(started["tags"], {"run": "1"})
        self.assertEqual((started["experimentTemplateId"], started["roleArn"]), (template["id"], ROLE))
        self.assertEqual(started["experimentOptions"]["actionsMode"], "run-all")
        self.assertLessEqual(started["creationTime"], started["startTime"])
        self.assertNotIn("endTime", started)
        for action in started["actions"].values():
            self.assertEqual(action["state"], {"status": "pending", "reason": "Initial state"})
            self.assertFalse({"startTime", "endTime"} & set(action))
        running = until(started["id"], "running")
        self.assertEqual(running["state"]["reason"], "Experiment is running.")
        self.assertIn("startTime", running["actions"]["first"])
        completed = until(started["id"], "completed", step="PT30S")
        self.assertEqual(completed["state"], {"status": "completed", "reason": "Experiment completed."})
        first, second = completed["actions"]["first"], completed["actions"]["second"]
        self.assertEqual(first["state"], {"status": "completed", "reason": "Action was completed."})
        self.assertLessEqual(first["endTime"], second["startTime"])
        self.assertGreaterEqual(completed["endTime"], second["endTime"])
        self.assertEqual(get(started["id"]), completed)

    def test_a_stop_ends_what_runs_and_cancels_what_waits(self):
        template = self.template(actions={"first": wait_action(), "second": wait_action(startAfter=["first"])})
        experiment = self.start(template["id"])["id"]
        until(experiment, "running")
        reply = call("StopExperiment", id=experiment)["experiment"]
        self.assertEqual(reply["state"], {"status": "stopping", "reason": "Stopping Experiment."})
        self.assertEqual(reply["actions"]["first"]["state"], {"status": "running", "reason": ""})
        self.assertEqual(reply["actions"]["second"]["state"]["status"], "pending")
        stopped = until(experiment, "stopped")
        states = {name: action["state"]["status"] for name, action in stopped["actions"].items()}
        self.assertEqual(states, {"first": "stopped", "second": "cancelled"})
        self.assertIn("endTime", stopped)

    def test_the_same_token_leads_to_the_same_experiment(self):
        template, token = self.template()["id"], name()
        first = self.start(template, clientToken=token, tags={"a": "1"})
        until(first["id"], "running")
        again = call("StartExperiment", clientToken=token, experimentTemplateId=template, tags={"a": "1"})["experiment"]
        self.assertEqual(again, get(first["id"]))
        for other in [{"tags": {"a": "2"}}, {}, {"tags": {"a": "1"}, "experimentOptions": {"actionsMode": "skip-all"}}]:
            self.refused(CONFLICT, "StartExperiment", clientToken=token, experimentTemplateId=template, **other)
        end(first["id"])
        again = call("StartExperiment", clientToken=token, experimentTemplateId=template, tags={"a": "1"})["experiment"]
        self.assertEqual((again["id"], again["state"]["status"]), (first["id"], "stopped"))

    def test_the_same_token_leads_to_the_same_template(self):
        given = draft()
        first = call("CreateExperimentTemplate", **given)["experimentTemplate"]
        self.addCleanup(self.delete_template, first["id"])
        call("UpdateExperimentTemplate", id=first["id"], description="changed")
        again = call("CreateExperimentTemplate", **given)["experimentTemplate"]
        self.assertEqual((again["id"], again["description"]), (first["id"], "changed"))
        self.refused(CONFLICT, "CreateExperimentTemplate", **{**given, "tags": {"a": "1"}})

    def test_targets_are_resolved_once_and_listed(self):
        actions = {"one": stop_instances("one"), "two": stop_instances("two", startAfter=["one"])}
        targets = {"one": instances(resourceTags={}, resourceArns=[INSTANCE]), "two": instances(selectionMode="COUNT(2)")}
        del targets["one"]["resourceTags"]
        experiment = self.start(self.template(actions=actions, targets=targets)["id"])["id"]
        until(experiment, "running", "completed")
        found = call("ListExperimentResolvedTargets", experimentId=experiment)["resolvedTargets"]
        self.assertEqual({item["resourceType"] for item in found}, {"aws:ec2:instance"})
        one = call("ListExperimentResolvedTargets", experimentId=experiment, targetName="one")["resolvedTargets"]
        self.assertEqual([item["targetInformation"] for item in one], [{"arn": INSTANCE}])
        two = [item["targetInformation"]["arn"] for item in found if item["targetName"] == "two"]
        self.assertEqual(len(set(two)), 2)
        self.assertEqual(call("ListExperimentResolvedTargets", experimentId=experiment)["resolvedTargets"], found)

    def test_a_preview_resolves_targets_and_skips_every_action(self):
        template = self.template(actions={"stop": stop_instances()}, targets={"instances": instances()})
        experiment = self.start(template["id"], experimentOptions={"actionsMode": "skip-all"})
        self.assertEqual(experiment["experimentOptions"]["actionsMode"], "skip-all")
        ended = until(experiment["id"], "completed")
        self.assertEqual({action["state"]["status"] for action in ended["actions"].values()}, {"skipped"})
        self.assertTrue(call("ListExperimentResolvedTargets", experimentId=experiment["id"])["resolvedTargets"])

    def test_lists_are_filtered_by_template(self):
        template, other = self.template()["id"], self.template()["id"]
        mine = {self.start(template)["id"], self.start(template)["id"]}
        self.start(other)
        found = call("ListExperiments", experimentTemplateId=template)["experiments"]
        self.assertEqual({item["id"] for item in found}, mine)
        members = {"id", "arn", "experimentTemplateId", "state", "creationTime", "tags", "experimentOptions"}
        self.assertEqual({frozenset(item) for item in found}, {frozenset(members)})

    def test_a_deleted_template_leaves_its_experiments(self):
        template = self.template()["id"]
        experiment = self.start(template)["id"]
        call("DeleteExperimentTemplate", id=template)
        self.assertEqual(get(experiment)["experimentTemplateId"], template)
        self.refused(NOT_FOUND, "StartExperiment", clientToken=name(), experimentTemplateId=template)

    def test_a_report_is_ready_when_its_time_is_over(self):
        report = {
            "outputs": {"s3Configuration": {"bucketName": "reports", "prefix": "drill"}},
            "postExperimentDuration": "PT20M",
        }
        template = self.template(experimentReportConfiguration=report)
        self.assertEqual(template["experimentReportConfiguration"], report)
        experiment = self.start(template["id"])
        self.assertEqual(experiment["experimentReportConfiguration"], report)
        ended = until(experiment["id"], "completed")
        self.assertIn(ended["experimentReport"]["state"]["status"], {"pending", "running"})
        jump("PT21M")
        ready = get(experiment["id"])["experimentReport"]
        self.assertEqual(ready["state"]["status"], "completed")
        self.assertTrue(all(item["arn"].startswith("arn:aws:s3:::reports/") for item in ready["s3Reports"]), ready)
        preview = self.start(template["id"], experimentOptions={"actionsMode": "skip-all"})["id"]
        # None is made of a preview; whether AWS says so or leaves it out is not documented.
        none = {"state": {"status": "cancelled"}}
        report = until(preview, "completed").get("experimentReport", none)
        self.assertEqual((report["state"]["status"], report.get("s3Reports", [])), ("cancelled", []))

    def test_an_experiment_keeps_the_accounts_it_began_with(self):
        template = self.template(experimentOptions={"accountTargeting": "multi-account"})["id"]
        mine = {"experimentTemplateId": template, "accountId": "210987654321"}
        made = call("CreateTargetAccountConfiguration", **mine, roleArn=ROLE, description="other")
        expected = {"accountId": "210987654321", "roleArn": ROLE, "description": "other"}
        self.assertEqual(made["targetAccountConfiguration"], expected)
        self.assertEqual(call("GetExperimentTemplate", id=template)["experimentTemplate"]["targetAccountConfigurationsCount"], 1)
        experiment = self.start(template)
        self.assertEqual(experiment["targetAccountConfigurationsCount"], 1)
        changed = call("UpdateTargetAccountConfiguration", **mine, description="changed")["targetAccountConfiguration"]
        self.assertEqual(changed, {**expected, "description": "changed"})
        self.assertEqual(call("DeleteTargetAccountConfiguration", **mine)["targetAccountConfiguration"], changed)
        self.assertEqual(call("ListTargetAccountConfigurations", experimentTemplateId=template)["targetAccountConfigurations"], [])
        kept = call("ListExperimentTargetAccountConfigurations", experimentId=experiment["id"])
        self.assertEqual(kept["targetAccountConfigurations"], [expected])
        one = call("GetExperimentTargetAccountConfiguration", experimentId=experiment["id"], accountId="210987654321")
        self.assertEqual(one["targetAccountConfiguration"], expected)


class TagsAndLever(Case):
    def test_tags_are_added_replaced_and_removed(self):
        template = self.template(tags={"a": "1", "b": "2"})
        experiment = self.start(template["id"])
        for arn in [template["arn"], experiment["arn"]]:
            tags = lambda: call("ListTagsForResource", resourceArn=arn)["tags"]
            before = tags()
            call("TagResource", resourceArn=arn, tags={"b": "3", "c d": "ä=/+-@:."})
            self.assertEqual(tags(), {**before, "b": "3", "c d": "ä=/+-@:."})
            call("UntagResource", resourceArn=arn, tagKeys=["b", "nobody has this"])
            self.assertEqual(tags(), {**{key: "1" for key in before if key == "a"}, "c d": "ä=/+-@:."})
            # Without keys all tags go, as an example of the AWS CLI has it.
            call("UntagResource", resourceArn=arn)
            self.assertEqual(tags(), {})
        self.assertEqual(get(experiment["id"])["tags"], {})

    def test_an_engaged_lever_ends_what_runs_and_cancels_what_starts(self):
        template = self.template()["id"]
        running = self.start(template)["id"]
        until(running, "running")
        self.addCleanup(disengage)
        engage = {"status": "engaged", "reason": "a check"}
        lever = call("UpdateSafetyLeverState", id=LEVER, state=engage)["safetyLever"]
        self.assertRegex(lever["arn"], rf"\Aarn:aws:fis:{REGION}:\d{{12}}:safety-lever/default\Z")
        self.assertEqual((lever["id"], lever["state"]), (LEVER, {"status": "engaging", "reason": "a check"}))
        until(running, "stopped")
        self.assertEqual(call("GetSafetyLever", id=LEVER)["safetyLever"]["state"], engage)
        cancelled = until(self.start(template)["id"], "cancelled")
        self.assertEqual({action["state"]["status"] for action in cancelled["actions"].values()}, {"cancelled"})
        disengage()
        self.assertEqual(call("GetSafetyLever", id=LEVER)["safetyLever"]["state"]["status"], "disengaged")
        until(self.start(template)["id"], "running")

    def test_an_ended_experiment_is_stopped_or_refused_but_not_changed(self):
        experiment = self.start(self.template()["id"])["id"]
        ended = until(experiment, "completed", step="PT30S")
        try:
            self.assertEqual(call("StopExperiment", id=experiment)["experiment"], ended)
        except botocore.exceptions.ClientError as error:
            self.assertEqual(error.response["Error"]["Code"], VALIDATION)
        self.assertEqual(get(experiment), ended)
