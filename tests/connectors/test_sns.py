"""Messages of SNS: both versions of the signature, a certificate from Amazon's own addresses, and our topic alone."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Event
from typing import Any

import httpx
import pytest

from connectors.sns import Topic, fetcher
from evergreet.errors import Misconfigured, NotGenuine, Retryable, Unreadable
from evergreet.testing.webhooks import RECEIVED, request
from tests.connectors.sns_messages import ARN, CERTIFICATE_URL, Signed, certificate, sns_message

SUBSCRIBE = f"https://sns.eu-central-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn={ARN}&Token=abc"


class Fetched:
    """What stands at addresses, and which were asked for."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.asked: list[str] = []

    def __call__(self, url: str) -> bytes:
        self.asked.append(url)
        return self.content


@pytest.fixture
def fetched() -> Fetched:
    return Fetched(certificate())


@pytest.fixture
def topic(fetched: Fetched) -> Topic:
    return Topic(ARN, "EVERGREET_X_TOPIC_ARN", fetched)


def posted(message: Signed, **changed: Any) -> Any:
    return request(json.dumps({**message, **changed}).encode(), {})


@pytest.mark.parametrize("version", ["1", "2"])
@pytest.mark.parametrize("subject", ["Amazon SES Email Event Notification", None])
def test_both_versions_are_verified_and_the_certificate_is_asked_for_once(
    topic: Topic, fetched: Fetched, version: str, subject: str | None
) -> None:
    for text in ("Grüße 😀", "two\nlines"):
        told = posted(sns_message(text, version=version, subject=subject))
        topic.verify(told)
        assert topic.read(told) is not None
    assert fetched.asked == [CERTIFICATE_URL]
    with pytest.raises(NotGenuine, match="signature is not that"):
        topic.verify(posted(sns_message("a", version=version), SignatureVersion={"1": "2", "2": "1"}[version]))


@pytest.mark.parametrize("name", ["Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"])
def test_each_signed_part_is_needed_as_it_was(topic: Topic, name: str) -> None:
    message = sns_message("text", subject="s")
    for changed in ("another", 7, None, ["x"]):
        with pytest.raises(NotGenuine):
            topic.verify(posted(message, **{name: changed}))


def test_one_message_cannot_be_cut_into_another_of_another_name(topic: Topic) -> None:
    message = sns_message("text", subject="s")
    name = f"{message['MessageId']}\nSubject\ns"
    with pytest.raises(NotGenuine, match="line break"):
        topic.verify(posted(message, MessageId=name, Subject=None))


def test_while_one_certificate_is_awaited_those_that_are_known_are_used_and_no_other_is_waited_for() -> None:
    began, answer = Event(), Event()

    def fetch(url: str) -> bytes:
        if "slow" in url:
            began.set()
            assert answer.wait(30)
        return certificate()

    topic = Topic(ARN, "X", fetch)
    topic.verify(posted(sns_message("text")))
    slow, other = (CERTIFICATE_URL.replace("SimpleNotificationService", name) for name in ("slow", "other"))
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(topic.verify, posted(sns_message("text"), SigningCertURL=slow))
        try:
            assert began.wait(30)
            topic.verify(posted(sns_message("text")))
            with pytest.raises(Retryable):
                topic.verify(posted(sns_message("text"), SigningCertURL=other))
        finally:
            answer.set()
        waiting.result()


@pytest.mark.parametrize(
    "url",
    [
        "http://sns.eu-central-1.amazonaws.com/SimpleNotificationService-1.pem",
        "https://sns.eu-central-1.amazonaws.com.evil.example/SimpleNotificationService-1.pem",
        "https://evil.example/SimpleNotificationService-1.pem",
        "https://sns.eu-central-1.amazonaws.com@evil.example/a.pem",
        "https://evil@sns.eu-central-1.amazonaws.com/a.pem",
        "https://sns.eu-central-1.amazonaws.com:8443/a.pem",
        "https://sns.eu-central-1.amazonaws.com/a.pem?x=.pem",
        "https://sns.eu-central-1.amazonaws.com/a.pem#x",
        "https://sns.eu-central-1.amazonaws.com/a.txt",
        "https://sns.eu-central-1.amazonaws.com/../a.pem",
        "https://sns.eu-central-1.amazonaws.com\\@evil.example/a.pem",
        "https://evil.sns.eu-central-1.amazonaws.com/a.pem",
        "https://sns.evil.eu-central-1.amazonaws.com/a.pem",
        "https://sqs.eu-central-1.amazonaws.com/a.pem",
        "https://bucket.s3.amazonaws.com/a.pem",
        "https://sns.eu-central-1.amazonaws.eu/a.pem",
        "https://sns.eu-central-1.amazonaws.com.cn/a.pem",
        "https://sns.eu-central-1.amazonaws.com/a.pem\n",
        " https://sns.eu-central-1.amazonaws.com/a.pem",
        f"https://sns.eu-central-1.amazonaws.com/{'a' * 70_000}.pem",
        "https://[sns.eu-central-1.amazonaws.com/a.pem",
        "//sns.eu-central-1.amazonaws.com/a.pem",
        "",
    ],
)
def test_no_other_address_is_asked_for_a_certificate(topic: Topic, fetched: Fetched, url: str) -> None:
    with pytest.raises(NotGenuine):
        topic.verify(posted(sns_message("text"), SigningCertURL=url))
    assert fetched.asked == []


@pytest.mark.parametrize(
    "host",
    [
        "us-east-1.amazonaws.com", "us-gov-west-1.amazonaws.com", "ap-southeast-3.amazonaws.com",
        "cn-north-1.amazonaws.com.cn", "eusc-de-east-1.amazonaws.eu",
    ],
)  # fmt: skip
def test_any_region_of_amazons_may_sign(topic: Topic, host: str) -> None:
    topic.verify(posted(sns_message("text"), SigningCertURL=f"https://sns.{host}/SimpleNotificationService-1a.pem"))


def test_another_topic_and_raw_delivery_are_refused_before_anything_is_fetched(topic: Topic, fetched: Fetched) -> None:
    with pytest.raises(NotGenuine, match="another topic"):
        topic.verify(posted(sns_message("text", arn=f"{ARN}x")))
    with pytest.raises(NotGenuine, match="raw message delivery"):
        topic.verify(request(b"{}", {"x-amz-sns-rawdelivery": "true"}))
    assert fetched.asked == []
    with pytest.raises(Misconfigured, match="EVERGREET_X_TOPIC_ARN"):
        Topic("", "EVERGREET_X_TOPIC_ARN", fetched).verify(posted(sns_message("text")))


@pytest.mark.parametrize("content", [b"", b"<html>", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_what_is_no_certificate_is_asked_for_again(topic: Topic, fetched: Fetched, content: bytes) -> None:
    fetched.content = content
    with pytest.raises(Retryable):
        topic.verify(posted(sns_message("text")))
    fetched.content = certificate()
    topic.verify(posted(sns_message("text")))


def test_a_certificate_of_another_time_or_key_is_none(topic: Topic, fetched: Fetched) -> None:
    fetched.content = certificate(ends=RECEIVED - timedelta(days=1))
    with pytest.raises(NotGenuine, match="not valid now"):
        topic.verify(posted(sns_message("text")))
    other = Topic(ARN, "X", lambda url: certificate(another=True))
    with pytest.raises(NotGenuine, match="signature is not that"):
        other.verify(posted(sns_message("text")))


def test_a_subscription_of_our_topic_is_confirmed(topic: Topic, fetched: Fetched) -> None:
    told = posted(sns_message("You have chosen …", kind="SubscriptionConfirmation", url=SUBSCRIBE))
    topic.verify(told)
    assert topic.read(told) is None
    assert fetched.asked == [CERTIFICATE_URL, SUBSCRIBE]


@pytest.mark.parametrize(
    "url",
    [
        SUBSCRIBE.replace("https", "http"), SUBSCRIBE.replace("amazonaws.com", "evil.example"),
        SUBSCRIBE.replace("Confirm", "Un"), SUBSCRIBE.replace(ARN, f"{ARN}x"), f"{SUBSCRIBE}&Action=Other",
    ],
)  # fmt: skip
def test_no_other_address_confirms(topic: Topic, fetched: Fetched, url: str) -> None:
    told = posted(sns_message("x", kind="SubscriptionConfirmation", url=url))
    topic.verify(told)
    with pytest.raises(Unreadable):
        topic.read(told)
    assert fetched.asked == [CERTIFICATE_URL]


def test_the_end_of_a_subscription_is_no_event_and_is_not_answered(
    topic: Topic, fetched: Fetched, caplog: pytest.LogCaptureFixture
) -> None:
    told = posted(sns_message("x", kind="UnsubscribeConfirmation", url=SUBSCRIBE))
    topic.verify(told)
    assert topic.read(told) is None
    assert fetched.asked == [CERTIFICATE_URL]
    assert "was ended" in caplog.text
    assert "Token" not in caplog.text


@pytest.mark.parametrize("status", [302, 403, 500])
def test_what_is_fetched_is_fetched_in_one_call_or_not_at_all(status: int) -> None:
    asked: list[httpx.Request] = []

    def serve(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(
            200 if len(asked) == 1 else status, headers={"location": "https://evil.example"},
            stream=httpx.ByteStream(b"x" * 10_000_000),
        )  # fmt: skip

    with httpx.Client(transport=httpx.MockTransport(serve)) as client:
        fetch = fetcher(client, 1, 1)
        assert 0 < len(fetch(SUBSCRIBE)) <= 64 * 1024
        with pytest.raises(Retryable):
            fetch(SUBSCRIBE)
    assert [str(one.url) for one in asked] == [SUBSCRIBE] * 2
