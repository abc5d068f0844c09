"""What surrounds FIS: CloudWatch alarms as stop conditions, SSM change calendars, and STS."""

import boto3
import botocore.exceptions

from harness import REGION, Case, client, name, until, wait_action

# A calendar that is open but for one hour, and one that is closed but for one.
EVENT = """BEGIN:VCALENDAR
PRODID:-//AWS//Change Calendar 1.0//EN
VERSION:2.0
X-CALENDAR-TYPE:{kind}
BEGIN:VEVENT
DTSTAMP:20260101T000000Z
UID:one
DTSTART:20260301T020000Z
DTEND:20260301T030000Z
SUMMARY:a window
END:VEVENT
END:VCALENDAR
"""


class Around(Case):
    def refused_with(self, code, operation, **arguments):
        with self.assertRaises(botocore.exceptions.ClientError) as caught:
            operation(**arguments)
        self.assertEqual(caught.exception.response["Error"]["Code"], code)

    def alarm(self):
        cloudwatch, alarm = client("cloudwatch"), name()
        cloudwatch.put_metric_alarm(
            AlarmName=alarm,
            MetricName="Errors",
            Namespace="Drill",
            Statistic="Sum",
            Period=60,
            EvaluationPeriods=1,
            Threshold=1.0,
            ComparisonOperator="GreaterThanThreshold",
        )
        self.addCleanup(cloudwatch.delete_alarms, AlarmNames=[alarm])
        return alarm

    def described(self, alarm):
        [found] = client("cloudwatch").describe_alarms(AlarmNames=[alarm])["MetricAlarms"]
        return found

    def set_state(self, alarm, state):
        client("cloudwatch").set_alarm_state(AlarmName=alarm, StateValue=state, StateReason="a check")

    def test_an_alarm_that_fires_stops_the_experiment(self):
        alarm = self.alarm()
        found = self.described(alarm)
        self.assertEqual(found["StateValue"], "INSUFFICIENT_DATA")
        self.assertRegex(found["AlarmArn"], rf"\Aarn:aws:cloudwatch:{REGION}:\d{{12}}:alarm:{alarm}\Z")
        self.assertEqual((found["MetricName"], found["Threshold"], found["Period"]), ("Errors", 1.0, 60))
        self.set_state(alarm, "OK")
        condition = {"source": "aws:cloudwatch:alarm", "value": found["AlarmArn"]}
        template = self.template(stopConditions=[condition], actions={"wait": wait_action(10)})
        experiment = self.start(template["id"])["id"]
        until(experiment, "running")
        self.set_state(alarm, "ALARM")
        self.assertEqual(self.described(alarm)["StateValue"], "ALARM")
        stopped = until(experiment, "stopped")
        self.assertEqual(stopped["state"]["reason"], "Experiment halted by stop condition.")
        self.assertEqual(stopped["actions"]["wait"]["state"]["status"], "stopped")

    def test_alarms_are_found_by_name_prefix_and_state(self):
        cloudwatch, alarm = client("cloudwatch"), self.alarm()
        self.set_state(alarm, "OK")
        names = lambda **arguments: {found["AlarmName"] for found in cloudwatch.describe_alarms(**arguments)["MetricAlarms"]}
        self.assertEqual(names(AlarmNamePrefix=alarm[:-1]), {alarm})
        self.assertIn(alarm, names(StateValue="OK"))
        self.assertNotIn(alarm, names(StateValue="ALARM"))
        self.assertEqual(names(AlarmNames=[name()]), set())
        self.refused_with(
            "ResourceNotFound", cloudwatch.set_alarm_state, AlarmName=name(), StateValue="OK", StateReason="a check"
        )

    def calendar(self, kind):
        document = name()
        ssm = client("ssm")
        ssm.create_document(
            Name=document, Content=EVENT.format(kind=kind), DocumentType="ChangeCalendar", DocumentFormat="TEXT"
        )
        self.addCleanup(ssm.delete_document, Name=document)
        return document

    def test_a_change_calendar_is_open_or_closed(self):
        opened, closed = self.calendar("DEFAULT_OPEN"), self.calendar("DEFAULT_CLOSED")
        account = client("sts").get_caller_identity()["Account"]
        arn = f"arn:aws:ssm:{REGION}:{account}:document/{opened}"
        state = lambda at, *names: client("ssm").get_calendar_state(CalendarNames=list(names), AtTime=at)
        before, begin, end = "2026-03-01T01:00:00Z", "2026-03-01T02:00:00Z", "2026-03-01T03:00:00Z"
        for names, at, expected, transition in [
            ([opened], before, "OPEN", begin),
            ([opened], begin, "CLOSED", end),
            ([opened], end, "OPEN", None),
            ([closed], before, "CLOSED", begin),
            ([closed], begin, "OPEN", end),
            ([opened, closed], begin, "CLOSED", None),
            ([arn], begin, "CLOSED", end),
        ]:
            with self.subTest(names=names, at=at):
                found = state(at, *names)
                self.assertEqual(found["State"], expected)
                if len(names) == 1 and transition:
                    self.assertEqual(found["NextTransitionTime"], transition)
        self.assertIn(client("ssm").get_calendar_state(CalendarNames=[opened])["State"], {"OPEN", "CLOSED"})
        read = client("ssm").get_document(Name=opened)
        self.assertEqual((read["DocumentType"], read["Content"]), ("ChangeCalendar", EVENT.format(kind="DEFAULT_OPEN")))
        self.refused_with("InvalidDocument", client("ssm").get_calendar_state, CalendarNames=[name()])
        self.refused_with("InvalidDocument", client("ssm").get_document, Name=name())

    def test_sts_knows_who_calls(self):
        sts = client("sts")
        caller = sts.get_caller_identity()
        self.assertRegex(caller["Account"], r"\A\d{12}\Z")
        self.assertIn(caller["Account"], caller["Arn"])
        role = f"arn:aws:iam::{caller['Account']}:role/drill"
        assumed = sts.assume_role(RoleArn=role, RoleSessionName="drill")
        self.assertEqual(
            assumed["AssumedRoleUser"]["Arn"], f"arn:aws:sts::{caller['Account']}:assumed-role/drill/drill"
        )
        self.assertLessEqual({"AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration"}, set(assumed["Credentials"]))
        keys = {
            "aws_access_key_id": assumed["Credentials"]["AccessKeyId"],
            "aws_secret_access_key": assumed["Credentials"]["SecretAccessKey"],
            "aws_session_token": assumed["Credentials"]["SessionToken"],
        }
        session = boto3.session.Session(**keys)
        self.assertEqual(session.client("sts").get_caller_identity()["Arn"], assumed["AssumedRoleUser"]["Arn"])
        self.assertTrue(session.client("fis").list_actions(maxResults=1)["actions"])
        self.refused_with("ValidationError", sts.assume_role, RoleArn="drill", RoleSessionName="drill")
