"""`@segment/analytics-node`, unmodified, pointed at us: `make clients` fetches it and runs these."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from evergreet.database import Database
from tests.web.segment_server import PAGE_HOST, WRITE_KEY, example, serving, stored

CLIENT = "@segment/analytics-node@3.1.0"
pytestmark = [
    pytest.mark.skipif(os.environ.get("EVERGREET_CLIENTS") != "1", reason="fetches a client: `make clients`"),
    pytest.mark.skipif(not (shutil.which("node") and shutil.which("npm")), reason="there is no node with npm here"),
]

EVERYTHING = """
const { Analytics } = require('@segment/analytics-node')
const analytics = new Analytics({ writeKey: process.argv[2], host: process.argv[3], flushAt: 100 })
const told = []
analytics.on('error', (error) => told.push(error.reason?.status ?? error.reason?.message ?? error.code))
analytics.track({ anonymousId: 'visitor', event: 'Product Viewed', properties: { name: 'Zelt ⛺' } })
analytics.identify({ userId: '7', anonymousId: 'visitor', traits: { email: 'ben@example.com', firstName: 'Ben' },
                     context: { locale: 'de-AT', timezone: 'Europe/Vienna' } })
analytics.alias({ userId: '7', previousId: 'ben' })
analytics.page({ userId: '7', name: 'Home', properties: { path: '/' } })
analytics.screen({ userId: '7', name: 'Cart' })
analytics.group({ userId: '7', groupId: 'acme' })
for (let n = 0; n < 150; n++) analytics.track({ userId: 'ben', event: 'Order Completed', properties: { order_id: n } })
analytics.closeAndFlush({ timeout: 20000 }).then(() => { console.log(JSON.stringify(told)) })
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the client is installed."""
    made = tmp_path_factory.mktemp("node")
    command = ["npm", "install", "--no-audit", "--no-fund", "--loglevel=error", "--prefix", str(made), CLIENT]
    subprocess.run(command, check=True, timeout=120, capture_output=True)
    return made


def run(folder: Path, code: str, *arguments: str) -> str:
    (folder / "main.js").write_text(code, "utf-8")
    done = subprocess.run(
        ["node", "main.js", *arguments], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_example_of_the_page_works(folder: Path, database: Database) -> None:
    with serving(database) as host:
        run(folder, example("javascript").replace(PAGE_HOST, host))
    assert stored(database, "SELECT source_id, email FROM contact") == [("u1", "maya@example.com")]
    assert stored(database, "SELECT name FROM event") == [("order_completed",)]


def test_all_it_can_say_arrives_and_a_wrong_key_is_told_to_the_client(folder: Path, database: Database) -> None:
    with serving(database) as host:
        assert run(folder, EVERYTHING, WRITE_KEY, host) == "[]\n"
        refused = run(folder, EVERYTHING, "a-wrong-key-0001", host)
    assert refused != "[]\n"
    counted = stored(database, "SELECT name, count(*) FROM event GROUP BY name ORDER BY name")
    assert counted == [("order_completed", 150), ("page_viewed", 2), ("product_viewed", 1)]
    # It posts two batches at once: whether `ben` or `7` comes first, they are one contact.
    assert stored(database, "SELECT count(DISTINCT contact_id) FROM event") == [(1,)]
    assert stored(database, "SELECT email, locale, timezone FROM contact") == [
        ("ben@example.com", "de_AT", "Europe/Vienna")
    ]
