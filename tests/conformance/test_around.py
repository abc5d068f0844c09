"""What surrounds FIS: CloudWatch alarms as stop conditions, SSM change calendars, and STS."""

import datetime

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
# A calendar of working hours, with the lines and the to-do that AWS's own calendars have.
HOURS = EVENT.replace("DTSTART:20260301T020000Z", "DTSTART;TZID=Europe/Berlin:20260105T090000").replace(
    "DTEND:20260301T030000Z", "DURATION:PT8H\nRRULE:FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR"
)
HOURS = HOURS.replace("BEGIN:VEVENT", "BEGIN:VTODO\nSUMMARY:Add events.\nEND:VTODO\nBEGIN:VEVENT").replace("\n", "\r\n")
COMMAND = {"DocumentType": "Command", "DocumentFormat": "JSON"}
ALARM = {
    "MetricName": "Errors",
    "Namespace": "Drill",
    "Statistic": "Sum",
    "Period": 60,
    "EvaluationPeriods": 1,
    "Threshold": 1.0,
    "ComparisonOperator": "GreaterThanThreshold",
    "Dimensions": [{"Name": "Service", "Value": "shop"}],
}


def calendar_of(content):
    """Arguments of CreateDocument."""
    return {"Content": content, "DocumentType": "ChangeCalendar", "DocumentFormat": "TEXT"}


class Around(Case):
    def refused_with(self, code, operation, status=400, **arguments):
        with self.assertRaises(botocore.exceptions.ClientError) as caught:
            operation(**arguments)
        response = caught.exception.response
        self.assertEqual((response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]), (code, status))

    def alarm(self):
        alarm = name()
        client("cloudwatch").put_metric_alarm(AlarmName=alarm, **ALARM)
        self.addCleanup(self.delete_alarm, alarm)
        return alarm

    @staticmethod
    def delete_alarm(alarm):
        if client("cloudwatch").describe_alarms(AlarmNames=[alarm])["MetricAlarms"]:
            client("cloudwatch").delete_alarms(AlarmNames=[alarm])

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
        other = alarm + "-2"
        cloudwatch.put_metric_alarm(AlarmName=other, **ALARM)
        self.addCleanup(self.delete_alarm, other)
        paginate = cloudwatch.get_paginator("describe_alarms").paginate
        pages = paginate(AlarmNamePrefix=alarm, PaginationConfig={"PageSize": 1})
        self.assertEqual([[found["AlarmName"] for found in page["MetricAlarms"]] for page in pages], [[alarm], [other]])

    def test_an_alarm_is_put_anew_and_deleted(self):
        cloudwatch, alarm = client("cloudwatch"), self.alarm()
        self.set_state(alarm, "ALARM")
        cloudwatch.put_metric_alarm(AlarmName=alarm, **{**ALARM, "Threshold": 2})
        found = self.described(alarm)
        self.assertEqual((found["Threshold"], found["StateValue"], found["StateReason"]), (2, "ALARM", "a check"))
        self.assertEqual(found["Dimensions"], ALARM["Dimensions"])
        self.assertIsInstance(found["StateUpdatedTimestamp"], datetime.datetime)
        state = {"StateValue": "OK", "StateReason": "a check"}
        self.refused_with("ResourceNotFound", cloudwatch.set_alarm_state, 404, AlarmName=name(), **state)
        self.refused_with("InvalidFormat", cloudwatch.set_alarm_state, AlarmName=alarm, StateReasonData="{", **state)
        self.refused_with("ValidationError", cloudwatch.put_metric_alarm, AlarmName=name())
        self.refused_with("ValidationError", cloudwatch.put_metric_alarm, AlarmName=name(), **{**ALARM, "Period": 45})
        self.refused_with("ResourceNotFound", cloudwatch.delete_alarms, 404, AlarmNames=[alarm, name()])
        self.assertEqual(self.described(alarm)["StateValue"], "ALARM")
        cloudwatch.delete_alarms(AlarmNames=[alarm])
        self.assertEqual(cloudwatch.describe_alarms(AlarmNames=[alarm])["MetricAlarms"], [])

    def calendar(self, kind, event=EVENT, **more):
        document, ssm = name(), client("ssm")
        ssm.create_document(Name=document, **{**calendar_of(event.format(kind=kind)), **more})
        self.addCleanup(ssm.delete_document, Name=document)
        return document

    def test_a_change_calendar_is_open_or_closed(self):
        opened, closed = self.calendar("DEFAULT_OPEN"), self.calendar("DEFAULT_CLOSED")
        hours = self.calendar("DEFAULT_CLOSED", HOURS)
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
            ([hours], "2026-11-23T09:00:00+0100", "OPEN", "2026-11-23T16:00:00Z"),
            ([hours], "2026-11-23T07:59:59Z", "CLOSED", "2026-11-23T08:00:00Z"),
            ([opened, hours], "2026-11-23T20:00:00Z", "CLOSED", "2026-11-24T08:00:00Z"),
        ]:
            with self.subTest(names=names, at=at):
                found = state(at, *names)
                self.assertEqual(found["State"], expected)
                if transition or len(names) == 1:
                    self.assertEqual(found.get("NextTransitionTime"), transition)
        self.assertIn(client("ssm").get_calendar_state(CalendarNames=[opened])["State"], {"OPEN", "CLOSED"})
        read = client("ssm").get_document(Name=opened)
        self.assertEqual((read["DocumentType"], read["Content"]), ("ChangeCalendar", EVENT.format(kind="DEFAULT_OPEN")))
        self.refused_with("InvalidDocument", client("ssm").get_calendar_state, CalendarNames=[name()])
        self.refused_with("InvalidDocument", client("ssm").get_document, Name=name())

    def test_a_change_calendar_is_checked_and_updated(self):
        ssm, content = client("ssm"), EVENT.format(kind="DEFAULT_OPEN")
        document, command = self.calendar("DEFAULT_OPEN"), self.calendar("", "{{}}", **COMMAND)
        often = content.replace("DTEND:20260301T030000Z", "DURATION:PT1S\nRRULE:FREQ=MINUTELY")
        for code, names, text in [
            ("DocumentAlreadyExists", document, content),
            ("InvalidDocumentContent", name(), content.replace("END:VEVENT\n", "")),
            ("InvalidDocumentContent", name(), often),
            ("ValidationException", "aws-x", content),
        ]:
            with self.subTest(code=code, name=names):
                self.refused_with(code, ssm.create_document, Name=names, **calendar_of(text))
        self.refused_with("InvalidDocumentType", ssm.get_calendar_state, CalendarNames=[command])
        self.refused_with(
            "DuplicateDocumentContent", ssm.update_document, Name=document, Content=content, DocumentVersion="$LATEST"
        )
        later = content.replace("20260301T02", "20260301T01")
        ssm.update_document(Name=document, Content=later, DocumentVersion="1")
        read = ssm.get_document(Name=document, DocumentVersion="$LATEST")
        found = (read["DocumentVersion"], read["DocumentFormat"], read["Content"])
        self.assertEqual(found, ("2", "TEXT", later))
        state = ssm.get_calendar_state(CalendarNames=[document], AtTime="2026-03-01T01:00:00Z")
        self.assertEqual((state["State"], state["NextTransitionTime"]), ("CLOSED", "2026-03-01T03:00:00Z"))

    def test_sts_knows_who_calls(self):
        sts = client("sts")
        caller = sts.get_caller_identity()
        self.assertRegex(caller["Account"], r"\A\d{12}\Z")
        self.assertEqual(caller["Arn"], f"arn:aws:iam::{caller['Account']}:user/simulator")
        role = {"RoleArn": "arn:aws:iam::210987654321:role/team/drill", "RoleSessionName": "me"}
        assumed = sts.assume_role(**role, DurationSeconds=900)
        self.assertEqual(assumed["AssumedRoleUser"]["Arn"], "arn:aws:sts::210987654321:assumed-role/drill/me")
        longer = sts.assume_role(**role, DurationSeconds=3600)["Credentials"]["Expiration"]
        self.assertAlmostEqual((longer - assumed["Credentials"]["Expiration"]).total_seconds(), 2700, delta=60)
        self.assertLessEqual({"AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration"}, set(assumed["Credentials"]))
        keys = {
            "aws_access_key_id": assumed["Credentials"]["AccessKeyId"],
            "aws_secret_access_key": assumed["Credentials"]["SecretAccessKey"],
            "aws_session_token": assumed["Credentials"]["SessionToken"],
        }
        session = boto3.session.Session(**keys)
        caller = session.client("sts").get_caller_identity()
        self.assertEqual((caller["Arn"], caller["Account"]), (assumed["AssumedRoleUser"]["Arn"], "210987654321"))
        self.assertTrue(session.client("fis").list_actions(maxResults=1)["actions"])
        for wrong in [{"RoleArn": "drill"}, {"RoleArn": "arn:aws:iam::1:user/drill<&>"}, {"DurationSeconds": 60}]:
            self.refused_with("ValidationError", sts.assume_role, **{**role, **wrong})
        self.refused_with("InvalidAction", sts.get_session_token)
