"""SQS, as far as an agent and its users touch it, through boto3."""

import concurrent.futures
import hashlib
import json

import botocore.exceptions

from harness import PATIENCE, Case, client, eventually, jump, name


class Sqs(Case):
    def setUp(self):
        self.sqs = client("sqs")

    def queue(self, suffix="", **attributes):
        url = self.sqs.create_queue(QueueName=name() + suffix, Attributes=attributes)["QueueUrl"]
        self.addCleanup(self.sqs.delete_queue, QueueUrl=url)
        return url

    def arn(self, url):
        return self.attribute(url, "QueueArn")

    def attribute(self, url, attribute):
        return self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=[attribute])["Attributes"][attribute]

    def receive(self, url, **more):
        arguments = {"QueueUrl": url, "MaxNumberOfMessages": 10, "MessageSystemAttributeNames": ["All"], **more}
        return self.sqs.receive_message(**arguments).get("Messages", [])

    def refused_with(self, code, operation, **arguments):
        with self.assertRaises(botocore.exceptions.ClientError) as caught:
            getattr(self.sqs, operation)(**arguments)
        self.assertEqual(caught.exception.response["Error"]["Code"], code)

    def test_a_message_is_sent_received_and_deleted(self):
        url = self.queue()
        attributes = {"kind": {"DataType": "String", "StringValue": "drill"}}
        trace = {"AWSTraceHeader": {"DataType": "String", "StringValue": "Root=1-5759e988-bd862e3fe1be46a994272793"}}
        sent = self.sqs.send_message(
            QueueUrl=url, MessageBody="hello", MessageAttributes=attributes, MessageSystemAttributes=trace
        )
        self.assertEqual(sent["MD5OfMessageBody"], hashlib.md5(b"hello").hexdigest())
        [message] = self.receive(url, MessageAttributeNames=["All"])
        self.assertEqual((message["MessageId"], message["Body"]), (sent["MessageId"], "hello"))
        self.assertEqual(message["MessageAttributes"], attributes)
        self.assertEqual(message["MD5OfMessageAttributes"], sent["MD5OfMessageAttributes"])
        self.assertEqual(message["Attributes"]["ApproximateReceiveCount"], "1")
        self.assertEqual(message["Attributes"]["AWSTraceHeader"], trace["AWSTraceHeader"]["StringValue"])
        self.assertLessEqual({"SentTimestamp", "ApproximateFirstReceiveTimestamp", "SenderId"}, set(message["Attributes"]))
        self.assertEqual(self.attribute(url, "ApproximateNumberOfMessagesNotVisible"), "1")
        self.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        jump("PT1H")
        self.assertEqual(self.receive(url), [])

    def test_a_message_is_hidden_until_its_time_is_over(self):
        url = self.queue(VisibilityTimeout="60")
        self.sqs.send_message(QueueUrl=url, MessageBody="hello")
        [first] = self.receive(url)
        self.assertEqual(self.receive(url), [])
        jump("PT61S")
        [second] = self.receive(url)
        self.assertEqual(second["Attributes"]["ApproximateReceiveCount"], "2")
        self.assertNotEqual(first["ReceiptHandle"], second["ReceiptHandle"])
        self.sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=second["ReceiptHandle"], VisibilityTimeout=0)
        self.assertEqual(len(self.receive(url)), 1)

    def test_a_delayed_message_comes_later(self):
        url = self.queue()
        self.sqs.send_message(QueueUrl=url, MessageBody="later", DelaySeconds=60)
        self.assertEqual(self.receive(url), [])
        jump("PT61S")
        self.assertEqual([message["Body"] for message in self.receive(url)], ["later"])

    def test_a_long_poll_ends_with_the_first_message(self):
        # A message that was received as often as may be leaves when somebody looks at it: so the poll is seen to wait.
        looked = self.queue()
        policy = json.dumps({"deadLetterTargetArn": self.arn(looked), "maxReceiveCount": 1})
        url = self.queue(RedrivePolicy=policy, VisibilityTimeout="0")
        self.sqs.send_message(QueueUrl=url, MessageBody="bait")
        self.assertEqual(len(self.receive(url)), 1)
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            poll = pool.submit(self.receive, url, WaitTimeSeconds=20)
            eventually("the poll's look", lambda: self.attribute(looked, "ApproximateNumberOfMessages") == "1")
            self.assertFalse(poll.done())
            self.sqs.send_message(QueueUrl=url, MessageBody="news")
            self.assertEqual([message["Body"] for message in poll.result(timeout=PATIENCE)], ["news"])

    def test_batches_tell_of_each_entry(self):
        url = self.queue()
        entries = [{"Id": str(number), "MessageBody": f"body {number}"} for number in range(10)]
        sent = self.sqs.send_message_batch(QueueUrl=url, Entries=entries)
        self.assertEqual({entry["Id"] for entry in sent["Successful"]}, {str(number) for number in range(10)})
        self.refused_with(
            "AWS.SimpleQueueService.TooManyEntriesInBatchRequest", "send_message_batch",
            QueueUrl=url, Entries=[{"Id": str(number), "MessageBody": "x"} for number in range(11)],
        )
        self.refused_with(
            "AWS.SimpleQueueService.BatchEntryIdsNotDistinct", "send_message_batch",
            QueueUrl=url, Entries=[{"Id": "1", "MessageBody": "x"}] * 2,
        )
        self.refused_with("AWS.SimpleQueueService.EmptyBatchRequest", "send_message_batch", QueueUrl=url, Entries=[])
        received = self.receive(url)
        self.assertEqual(sorted(message["Body"] for message in received), sorted(entry["MessageBody"] for entry in entries))
        handles = [{"Id": str(at), "ReceiptHandle": item["ReceiptHandle"]} for at, item in enumerate(received[:9])]
        deleted = self.sqs.delete_message_batch(QueueUrl=url, Entries=[*handles, {"Id": "bad", "ReceiptHandle": "none"}])
        self.assertEqual(len(deleted["Successful"]), 9)
        self.assertEqual([entry["Id"] for entry in deleted["Failed"]], ["bad"])

    def test_a_message_received_too_often_moves_to_the_dead_letter_queue(self):
        dead = self.queue()
        policy = json.dumps({"deadLetterTargetArn": self.arn(dead), "maxReceiveCount": 2})
        url = self.queue(RedrivePolicy=policy, VisibilityTimeout="0")
        sent = self.sqs.send_message(QueueUrl=url, MessageBody="poison")
        for _number in range(2):
            self.assertEqual(len(self.receive(url)), 1)
        self.assertEqual(self.receive(url), [])
        [message] = self.receive(dead)
        self.assertEqual((message["MessageId"], message["Body"]), (sent["MessageId"], "poison"))

    def test_a_fifo_queue_keeps_order_by_group_and_drops_repeats(self):
        url = self.queue(".fifo", FifoQueue="true", ContentBasedDeduplication="true")

        def send(body, group, **more):
            return self.sqs.send_message(QueueUrl=url, MessageBody=body, MessageGroupId=group, **more)

        first, again = send("a1", "a"), send("a1", "a")
        self.assertEqual(first["MessageId"], again["MessageId"])
        self.assertLess(int(first["SequenceNumber"]), int(send("a2", "a")["SequenceNumber"]))
        send("b1", "b")
        self.refused_with("MissingParameter", "send_message", QueueUrl=url, MessageBody="no group")
        [head] = self.receive(url, MaxNumberOfMessages=1)
        self.assertEqual((head["Body"], head["Attributes"]["MessageGroupId"]), ("a1", "a"))
        # While a1 is in flight, nothing else of its group comes.
        others = self.receive(url)
        self.assertEqual([message["Body"] for message in others], ["b1"])
        self.sqs.delete_message(QueueUrl=url, ReceiptHandle=head["ReceiptHandle"])
        self.assertEqual([message["Body"] for message in self.receive(url)], ["a2"])
        self.refused_with("InvalidParameterValue", "create_queue", QueueName=name(), Attributes={"FifoQueue": "true"})

    def test_queues_are_found_listed_purged_and_deleted(self):
        url = self.queue(VisibilityTimeout="45")
        queue = url.rsplit("/", 1)[1]
        self.assertEqual(self.sqs.get_queue_url(QueueName=queue)["QueueUrl"], url)
        self.assertEqual(self.sqs.list_queues(QueueNamePrefix=queue)["QueueUrls"], [url])
        self.assertEqual(self.sqs.create_queue(QueueName=queue, Attributes={"VisibilityTimeout": "45"})["QueueUrl"], url)
        self.refused_with("QueueAlreadyExists", "create_queue", QueueName=queue, Attributes={"VisibilityTimeout": "46"})
        self.sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "50"})
        self.assertEqual(self.attribute(url, "VisibilityTimeout"), "50")
        self.refused_with("InvalidAttributeName", "set_queue_attributes", QueueUrl=url, Attributes={"Colour": "red"})
        self.sqs.send_message(QueueUrl=url, MessageBody="gone")
        self.sqs.purge_queue(QueueUrl=url)
        eventually("the queue to be empty", lambda: self.attribute(url, "ApproximateNumberOfMessages") == "0")
        missing = "AWS.SimpleQueueService.NonExistentQueue"
        self.refused_with(missing, "get_queue_url", QueueName=name())
        self.refused_with(missing, "send_message", QueueUrl=url + "-other", MessageBody="x")
        self.refused_with(missing, "receive_message", QueueUrl=url + "-other")

    def test_bad_requests_are_refused(self):
        url = self.queue()
        for code, operation, arguments in [
            ("ReceiptHandleIsInvalid", "delete_message", {"ReceiptHandle": "none"}),
            ("InvalidParameterValue", "receive_message", {"MaxNumberOfMessages": 11}),
            ("InvalidParameterValue", "receive_message", {"WaitTimeSeconds": 21}),
            ("InvalidParameterValue", "send_message", {"MessageBody": "x", "DelaySeconds": 901}),
            ("InvalidMessageContents", "send_message", {"MessageBody": "\x00"}),
            ("MissingParameter", "send_message", {"MessageBody": ""}),
        ]:
            with self.subTest(operation=operation, code=code):
                self.refused_with(code, operation, QueueUrl=url, **arguments)
