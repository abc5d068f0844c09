"""All operations of FIS, each with a success and with every error that the model names for it.

The replies that came over the wire are counted against botocore's model, so an operation or an error that is forgotten
here fails the test. Each reply's shape is checked on its way in, see `harness.check_reply`.
"""

import botocore.exceptions

from harness import (
    CONFLICT,
    LEVER,
    NOT_FOUND,
    OK,
    QUOTA,
    ROLE,
    SEEN,
    VALIDATION,
    Case,
    call,
    control,
    disengage,
    draft,
    end,
    jump,
    model,
    name,
    until,
    wait_action,
)

ACCOUNT = "210987654321"
OTHER_ACCOUNT = "210987654322"
# Nobody has these; none is longer than the model allows.
NO_TEMPLATE = "EXTnobodyhasthis1"
NO_EXPERIMENT = "EXPnobodyhasthis123"
# One more than the model allows.
LONG_ID = "E" * 65
LONG_NAME = "a" * 129
ACTIVE = 5
ACTIONS = 20
ACCOUNTS = 40


class Operations(Case):
    def test_every_operation_and_each_modelled_error(self):
        disengage()
        self.made = self.template(experimentOptions={"accountTargeting": "multi-account"})
        self.id = self.made["id"]
        first = len(SEEN)
        for rows in [
            self.catalogue,
            self.templates,
            self.account_configurations,
            self.experiments,
            self.starts,
            self.safety_lever,
            self.tags,
            self.template_end,
        ]:
            for operation, outcome, arguments in rows():
                with self.subTest(operation=operation):
                    got = self.outcome(operation, arguments)
                    if got != outcome:
                        self.fail(f"{got} and not {outcome}: {str(arguments)[:200]}")
        seen = {(reply.operation, reply.outcome) for reply in SEEN[first:]}
        self.assertEqual(sorted(modelled() - seen), [], "never seen")

    @staticmethod
    def outcome(operation, arguments):
        try:
            reply = call(operation, **arguments)
        except botocore.exceptions.ClientError as error:
            return error.response["Error"]["Code"]
        if operation == "StartExperiment":
            end(reply["experiment"]["id"])
        return OK

    def catalogue(self):
        for operation in ["ListActions", "ListTargetResourceTypes", "ListExperimentTemplates", "ListExperiments"]:
            yield operation, OK, {}
            yield operation, VALIDATION, {"maxResults": 0}
            yield operation, VALIDATION, {"maxResults": 101}
            yield operation, VALIDATION, {"nextToken": "nobody-gave-this"}
        yield "GetAction", OK, {"id": "aws:ec2:stop-instances"}
        yield "GetAction", NOT_FOUND, {"id": "aws:ec2:no-such-action"}
        yield "GetAction", VALIDATION, {"id": LONG_NAME}
        yield "GetTargetResourceType", OK, {"resourceType": "aws:ec2:instance"}
        yield "GetTargetResourceType", NOT_FOUND, {"resourceType": "aws:ec2:no-such-type"}
        yield "GetTargetResourceType", VALIDATION, {"resourceType": LONG_NAME}

    def templates(self):
        token = name()
        yield "CreateExperimentTemplate", VALIDATION, draft(stopConditions=[])
        # The model names this error, and AWS's documents do not say for what; the simulator has a choice for it.
        self.addCleanup(control, "choices", {"unknown-action": "invalid"}, "PATCH")
        control("choices", {"unknown-action": "missing"}, "PATCH")
        yield "CreateExperimentTemplate", NOT_FOUND, draft(actions={"a": {"actionId": "aws:ec2:no-such-action"}})
        control("choices", {"unknown-action": "invalid"}, "PATCH")
        yield "CreateExperimentTemplate", VALIDATION, draft(actions={"a": {"actionId": "aws:ec2:no-such-action"}})
        yield "CreateExperimentTemplate", QUOTA, draft(actions=self.too_many_actions())
        self.template(clientToken=token)
        yield "CreateExperimentTemplate", CONFLICT, draft(clientToken=token, description="another one")
        yield "GetExperimentTemplate", OK, {"id": self.id}
        yield "GetExperimentTemplate", NOT_FOUND, {"id": NO_TEMPLATE}
        yield "GetExperimentTemplate", VALIDATION, {"id": LONG_ID}
        yield "UpdateExperimentTemplate", OK, {"id": self.id, "description": "changed"}
        yield "UpdateExperimentTemplate", NOT_FOUND, {"id": NO_TEMPLATE, "description": "changed"}
        yield "UpdateExperimentTemplate", VALIDATION, {"id": self.id, "description": "x" * 513}
        yield "UpdateExperimentTemplate", QUOTA, {"id": self.id, "actions": self.too_many_actions()}

    @staticmethod
    def too_many_actions():
        after = lambda number: {"startAfter": [f"a{number - 1}"]} if number else {}
        return {f"a{number}": wait_action(**after(number)) for number in range(ACTIONS + 1)}

    def account_configurations(self):
        mine = {"experimentTemplateId": self.id, "accountId": ACCOUNT}
        others = [{**mine, "experimentTemplateId": NO_TEMPLATE}, {**mine, "accountId": OTHER_ACCOUNT}]
        yield "CreateTargetAccountConfiguration", OK, {**mine, "roleArn": ROLE}
        yield "CreateTargetAccountConfiguration", CONFLICT, {**mine, "roleArn": ROLE + "-2", "clientToken": name()}
        yield "CreateTargetAccountConfiguration", NOT_FOUND, {**others[0], "roleArn": ROLE}
        yield "CreateTargetAccountConfiguration", VALIDATION, {**others[1], "roleArn": "short"}
        for operation, more in [
            ("GetTargetAccountConfiguration", {}),
            ("UpdateTargetAccountConfiguration", {"description": "changed"}),
            ("DeleteTargetAccountConfiguration", {}),
        ]:
            for other in others:
                yield operation, NOT_FOUND, {**other, **more}
            yield operation, VALIDATION, {**mine, "accountId": "12", **more}
        yield "GetTargetAccountConfiguration", OK, mine
        yield "UpdateTargetAccountConfiguration", OK, {**mine, "description": "changed"}
        yield "ListTargetAccountConfigurations", OK, {"experimentTemplateId": self.id}
        yield "ListTargetAccountConfigurations", NOT_FOUND, {"experimentTemplateId": NO_TEMPLATE}
        yield "ListTargetAccountConfigurations", VALIDATION, {"experimentTemplateId": self.id, "maxResults": 0}
        for number in range(1, ACCOUNTS):
            more = {"accountId": str(100000000000 + number), "roleArn": ROLE}
            yield "CreateTargetAccountConfiguration", OK, {**mine, **more}
        yield "CreateTargetAccountConfiguration", QUOTA, {**others[1], "roleArn": ROLE}

    def experiments(self):
        experiment = self.start(self.id)["id"]
        mine = {"experimentId": experiment, "accountId": ACCOUNT}
        yield "GetExperiment", OK, {"id": experiment}
        yield "GetExperiment", NOT_FOUND, {"id": NO_EXPERIMENT}
        yield "GetExperiment", VALIDATION, {"id": LONG_ID}
        yield "ListExperiments", OK, {"experimentTemplateId": self.id}
        yield "ListExperiments", VALIDATION, {"experimentTemplateId": LONG_ID}
        yield "ListExperimentResolvedTargets", OK, {"experimentId": experiment}
        yield "ListExperimentResolvedTargets", NOT_FOUND, {"experimentId": NO_EXPERIMENT}
        yield "ListExperimentResolvedTargets", VALIDATION, {"experimentId": experiment, "maxResults": 0}
        yield "ListExperimentTargetAccountConfigurations", OK, {"experimentId": experiment}
        yield "ListExperimentTargetAccountConfigurations", NOT_FOUND, {"experimentId": NO_EXPERIMENT}
        yield "ListExperimentTargetAccountConfigurations", VALIDATION, {"experimentId": experiment, "nextToken": "no"}
        yield "GetExperimentTargetAccountConfiguration", OK, mine
        yield "GetExperimentTargetAccountConfiguration", NOT_FOUND, {**mine, "accountId": OTHER_ACCOUNT}
        yield "GetExperimentTargetAccountConfiguration", NOT_FOUND, {**mine, "experimentId": NO_EXPERIMENT}
        yield "GetExperimentTargetAccountConfiguration", VALIDATION, {**mine, "accountId": "12"}
        yield "DeleteTargetAccountConfiguration", OK, {"experimentTemplateId": self.id, "accountId": ACCOUNT}
        yield "StopExperiment", OK, {"id": experiment}
        yield "StopExperiment", NOT_FOUND, {"id": NO_EXPERIMENT}
        yield "StopExperiment", VALIDATION, {"id": LONG_ID}
        end(experiment)

    def starts(self):
        template, token = self.template()["id"], name()
        mine = {"experimentTemplateId": template}
        yield "StartExperiment", OK, {**mine, "clientToken": token}
        yield "StartExperiment", CONFLICT, {**mine, "clientToken": token, "tags": {"other": "body"}}
        yield "StartExperiment", NOT_FOUND, {"experimentTemplateId": NO_TEMPLATE}
        yield "StartExperiment", VALIDATION, {**mine, "clientToken": "x" * 1025}
        yield "StartExperiment", VALIDATION, {**mine, "experimentOptions": {"actionsMode": "run-some"}}
        active = [self.start(template)["id"] for _number in range(ACTIVE)]
        yield "StartExperiment", QUOTA, mine
        for experiment in active:
            end(experiment)

    def safety_lever(self):
        engage = {"id": LEVER, "state": {"status": "engaged", "reason": "a check"}}
        yield "GetSafetyLever", OK, {"id": LEVER}
        yield "GetSafetyLever", NOT_FOUND, {"id": "other"}
        yield "UpdateSafetyLeverState", NOT_FOUND, {**engage, "id": "other"}
        yield "UpdateSafetyLeverState", VALIDATION, {"id": LEVER, "state": {"status": "broken", "reason": "a check"}}
        yield "UpdateSafetyLeverState", VALIDATION, {"id": LEVER, "state": {"status": "engaged"}}
        experiment = self.start(self.template()["id"])["id"]
        until(experiment, "running")
        self.addCleanup(disengage)
        yield "UpdateSafetyLeverState", OK, engage
        # Engaging lasts until the experiments have ended.
        yield "UpdateSafetyLeverState", CONFLICT, {"id": LEVER, "state": {"status": "disengaged", "reason": "a check"}}
        until(experiment, "stopped")
        jump("PT1S")
        disengage()

    def tags(self):
        arn = {"resourceArn": self.made["arn"]}
        yield "TagResource", OK, {**arn, "tags": {"a": "1"}}
        yield "ListTagsForResource", OK, arn
        yield "UntagResource", OK, {**arn, "tagKeys": ["a"]}
        missing = {"resourceArn": self.made["arn"].replace(self.id, NO_TEMPLATE)}
        yield "TagResource", NOT_FOUND, {**missing, "tags": {"a": "1"}}
        yield "ListTagsForResource", NOT_FOUND, missing
        yield "UntagResource", NOT_FOUND, {**missing, "tagKeys": ["a"]}
        yield "TagResource", VALIDATION, {**arn, "tags": {"aws:a": "1"}}
        yield "TagResource", VALIDATION, {**arn, "tags": {str(number): "v" for number in range(51)}}

    def template_end(self):
        yield "DeleteExperimentTemplate", VALIDATION, {"id": LONG_ID}
        yield "DeleteExperimentTemplate", OK, {"id": self.id}
        yield "DeleteExperimentTemplate", NOT_FOUND, {"id": self.id}
        token = {**draft(), "clientToken": name()}
        yield "CreateExperimentTemplate", OK, token
        # The same token and body lead to the same template, which is how its id is found.
        self.delete_template(call("CreateExperimentTemplate", **token)["experimentTemplate"]["id"])


def modelled():
    """Every operation with `OK`, and with each error that the model names for it."""
    operations = map(model().operation_model, model().operation_names)
    return {(item.name, code) for item in operations for code in [OK, *(shape.name for shape in item.error_shapes)]}
