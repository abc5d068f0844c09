"""The aws CLI: every `aws fis` command as a user types it, and what the CLI makes of errors.

Commands run inside this process, for speed, and some of them as the real program, which must make no difference.
"""

import contextlib
import functools
import io
import json
import os
import subprocess

import awscli.clidriver

import harness
from harness import LEVER, ROLE, Case, disengage, name, until

AWS = os.path.join(os.environ["FIREDRILL_TEST_VENV"], "bin", "aws")
ACCOUNT = "210987654321"
# What version 1 of the CLI ends with after an error of the service; version 2 ends with 254.
SERVICE_ERROR = 255
# Commands whose reply is empty print nothing.
SILENT = {"tag-resource", "untag-resource"}


@functools.cache
def driver():
    made = awscli.clidriver.create_clidriver()
    harness.watch(made.session)
    return made


def inside(*arguments):
    """Exit code and both outputs of a command, run inside this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = driver().main(["fis", *arguments])
        except SystemExit as ended:
            code = ended.code
    return code, out.getvalue(), err.getvalue()


def outside(*arguments):
    """Exit code and both outputs of a command, run as a user does."""
    ran = subprocess.run([AWS, "fis", *arguments], capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
    return ran.returncode, ran.stdout, ran.stderr


class Cli(Case):
    def setUp(self):
        self.called = set()

    def aws(self, command, *arguments, run=inside):
        """A command that must go well; returns what it prints, read as JSON."""
        self.called.add(command)
        code, out, err = run(command, *arguments)
        self.assertEqual((code, err), (0, ""), command)
        if command in SILENT:
            self.assertEqual(out, "")
            return None
        return json.loads(out)

    def aws_refuses(self, code, command, *arguments, run=inside):
        exit_code, out, err = run(command, *arguments)
        self.assertEqual(exit_code, SERVICE_ERROR, err)
        self.assertEqual(out, "")
        operation = "".join(word.capitalize() for word in command.split("-"))
        self.assertIn(f"An error occurred ({code}) when calling the {operation} operation", err)

    def test_every_command_of_the_cli(self):
        template = self.catalogue_and_template()
        self.accounts(template)
        experiment = self.experiment(template)
        self.lever_and_tags(template)
        for command in [["stop-experiment", "--id", experiment], ["delete-experiment-template", "--id", template["id"]]]:
            self.aws(*command)
        until(experiment, "stopped")
        known = driver().create_help_command().command_table["fis"].create_help_command().command_table
        self.assertEqual(self.called, set(known) - {"help"})
        self.assertEqual(len(self.called), 26)

    def catalogue_and_template(self):
        self.assertGreater(len(self.aws("list-actions")["actions"]), 50)
        self.assertGreater(len(self.aws("list-actions", "--page-size", "7", "--max-items", "20")["actions"]), 19)
        self.aws("get-action", "--id", "aws:ec2:stop-instances")
        self.aws("list-target-resource-types")
        self.aws("get-target-resource-type", "--resource-type", "aws:ec2:instance")
        made = self.aws(
            "create-experiment-template",
            *["--description", "by the CLI", "--role-arn", ROLE, "--stop-conditions", "source=none"],
            *["--actions", json.dumps({"wait": {"actionId": "aws:fis:wait", "parameters": {"duration": "PT1M"}}})],
            *["--experiment-options", "accountTargeting=multi-account", "--tags", f"run={name()}"],
        )["experimentTemplate"]
        self.addCleanup(self.delete_template, made["id"])
        self.aws("get-experiment-template", "--id", made["id"])
        self.aws("update-experiment-template", "--id", made["id"], "--description", "by the CLI, again")
        found = self.aws("list-experiment-templates", "--query", f"experimentTemplates[?id=='{made['id']}'].description")
        self.assertEqual(found, ["by the CLI, again"])
        return made

    def accounts(self, template):
        mine = ["--experiment-template-id", template["id"], "--account-id", ACCOUNT]
        self.aws("create-target-account-configuration", *mine, "--role-arn", ROLE)
        self.aws("get-target-account-configuration", *mine)
        self.aws("update-target-account-configuration", *mine, "--description", "other")
        self.aws("list-target-account-configurations", *mine[:2])

    def experiment(self, template):
        experiment = self.aws("start-experiment", "--experiment-template-id", template["id"])["experiment"]["id"]
        self.addCleanup(harness.end, experiment)
        until(experiment, "running")
        self.aws("get-experiment", "--id", experiment)
        self.aws("list-experiments", "--experiment-template-id", template["id"])
        self.aws("list-experiment-resolved-targets", "--experiment-id", experiment)
        self.aws("list-experiment-target-account-configurations", "--experiment-id", experiment)
        mine = ["--experiment-id", experiment, "--account-id", ACCOUNT]
        self.aws("get-experiment-target-account-configuration", *mine)
        self.aws("delete-target-account-configuration", "--experiment-template-id", template["id"], *mine[2:])
        return experiment

    def lever_and_tags(self, template):
        self.addCleanup(disengage)
        self.aws("get-safety-lever", "--id", LEVER)
        self.aws("update-safety-lever-state", "--id", LEVER, "--state", "status=disengaged,reason=by the CLI")
        self.aws("tag-resource", "--resource-arn", template["arn"], "--tags", "a=1,b=2")
        self.aws("untag-resource", "--resource-arn", template["arn"], "--tag-keys", "a", "run")
        self.assertEqual(self.aws("list-tags-for-resource", "--resource-arn", template["arn"]), {"tags": {"b": "2"}})

    def test_errors_end_with_the_code_and_text_that_users_know(self):
        self.aws_refuses("ResourceNotFoundException", "get-experiment", "--id", "EXPnobodyhasthis123")
        self.aws_refuses("ResourceNotFoundException", "start-experiment", "--experiment-template-id", "EXTnobodyhasthis1")
        self.aws_refuses("ValidationException", "list-actions", "--max-items", "1", "--starting-token", "nonsense")
        template, token = self.template()["id"], name()
        mine = ["start-experiment", "--experiment-template-id", template, "--client-token", token]
        self.addCleanup(harness.end, self.aws(*mine)["experiment"]["id"])
        self.aws_refuses("ConflictException", *mine, "--tags", "a=1")
        for _number in range(4):
            self.start(template)
        self.aws_refuses("ServiceQuotaExceededException", *mine[:3])
        self.aws_refuses("ServiceQuotaExceededException", *mine[:3], run=outside)

    def test_the_program_itself_says_the_same(self):
        template = self.template(tags={"a": "1"})
        for command in [
            ["get-experiment-template", "--id", template["id"]],
            ["get-action", "--id", "aws:fis:wait"],
            ["get-target-resource-type", "--resource-type", "aws:eks:pod"],
            ["list-tags-for-resource", "--resource-arn", template["arn"]],
            ["get-safety-lever", "--id", LEVER],
            ["list-actions", "--query", "actions[].id"],
        ]:
            with self.subTest(command=command):
                self.assertEqual(self.aws(*command, run=outside), self.aws(*command))
        self.aws_refuses("ResourceNotFoundException", "get-experiment", "--id", "EXPnobodyhasthis123", run=outside)
