"""Do one part of the work: `python -m shop.runner prepare|queue|run`, with what it needs in the environment.

`prepare` makes the schema and stores the customers of a JSON-lines file, `queue` is what the application does when they
enter the stage, and `run` sends what is there: it says `ready`, waits for a line, works until nothing is left, and
says what it used as JSON.
"""

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import django

PEER = os.environ["BENCH_PEER"]
SENDER = "hello@fernway.example"
LUMP = 1000
MESSAGES = Path(__file__).parent / "messages"


def prepare() -> None:
    from django.core.management import call_command
    from django.db import connection
    from shop.models import Customer

    call_command("migrate", run_syncdb=True, verbosity=0)
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA journal_mode = WAL")
    with Path(os.environ["BENCH_PEOPLE"]).open(encoding="utf-8") as file:
        customers = [Customer(**json.loads(line)) for line in file]
    Customer.objects.bulk_create(customers, batch_size=LUMP)
    subject, html, text = ((MESSAGES / name).read_text().rstrip() for name in ("subject.txt", "body.html", "body.txt"))
    if PEER == "django-post-office":
        from post_office.models import EmailTemplate

        EmailTemplate.objects.create(name="welcome", subject=subject, html_content=html, content=text)
        return
    from drip.models import Drip, QuerySetRule

    drip = Drip.objects.create(
        name="welcome", enabled=True, from_email=SENDER, subject_template=subject, body_html_template=html
    )
    QuerySetRule.objects.create(drip=drip, field_name="stage", lookup_type="exact", field_value="purchase")


def queue() -> None:
    """Hand the messages to the package's queue, in lumps; a drip finds its customers by itself."""
    if PEER != "django-post-office":
        return
    from post_office import mail
    from post_office.models import EmailTemplate
    from shop.models import Customer

    template = EmailTemplate.objects.get(name="welcome")
    lump: list[dict[str, Any]] = []
    for customer in Customer.objects.filter(stage="purchase").iterator(LUMP):
        values = (
            "first_name",
            "city",
            "tier",
            "points",
            "order_id",
            "amount",
            "ordered_at",
            "picks",
            "unsubscribe_url",
        )
        context = {"user": {name: getattr(customer, name) for name in values}}
        lump.append({"recipients": customer.email, "sender": SENDER, "template": template, "context": context})
        if len(lump) == LUMP:
            mail.send_many(lump)
            lump = []
    mail.send_many(lump)


def run() -> tuple[float, float]:
    from django.core.management import call_command, load_command_class

    command = "send_queued_mail" if PEER == "django-post-office" else "send_drips"
    load_command_class("post_office" if PEER == "django-post-office" else "drip", command)
    lock = {"lockfile": os.environ["BENCH_LOCK"]} if PEER == "django-post-office" else {}
    print("ready", flush=True)
    sys.stdin.readline()
    return _used(lambda: call_command(command, **lock))


def _used(work: Callable[[], Any]) -> tuple[float, float]:
    """Return CPU seconds of this process and seconds by the clock on the wall."""
    before, begun = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    work()
    after = resource.getrusage(resource.RUSAGE_SELF)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, time.perf_counter() - begun


def main() -> None:
    django.setup()
    asked = sys.argv[1]
    used = run() if asked == "run" else _used({"prepare": prepare, "queue": queue}[asked])
    print(json.dumps({"cpu": used[0], "seconds": used[1], "doubt": []}), flush=True)


if __name__ == "__main__":
    main()
