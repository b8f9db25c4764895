"""Shopify's own package for Node as the judge: what it says is signed, and the fields its objects have."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from connectors.events.shopify import Shopify
from connectors.events.shopify_settings import ShopifySettings
from evergreet.contracts import WebhookRequest
from evergreet.errors import NotGenuine
from evergreet.testing.signatures import RECEIVED
from tests.connectors.events.test_shopify import ORDER, PERSON, REFUND, SECRET, signed

CLIENT = "@shopify/shopify-api@13.1.0"
VERSION = "2026-04"
pytestmark = [
    pytest.mark.skipif(os.environ.get("EVERGREET_CLIENTS") != "1", reason="fetches a client: `make clients`"),
    pytest.mark.skipif(not (shutil.which("node") and shutil.which("npm")), reason="there is no node with npm here"),
]

JUDGE = """
require('@shopify/shopify-api/adapters/node')
const { shopifyApi } = require('@shopify/shopify-api')
const [secret, version, given] = process.argv.slice(2)
const api = shopifyApi({ apiKey: 'key', apiSecretKey: secret, scopes: [], hostName: 'localhost', isEmbeddedApp: false,
                         apiVersion: version, logger: { level: 0 } })
async function main() {
  const valid = []
  for (const [headers, rawBody] of JSON.parse(given)) {
    const rawRequest = { method: 'POST', url: '/webhooks/shopify', headers }
    valid.push((await api.webhooks.validate({ rawBody, rawRequest, rawResponse: {} })).valid)
  }
  console.log(JSON.stringify(valid))
}
main().catch((error) => { console.error(error); process.exit(1) })
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the package is installed."""
    made = tmp_path_factory.mktemp("node")
    command = ["npm", "install", "--no-audit", "--no-fund", "--loglevel=error", "--prefix", str(made), CLIENT]
    subprocess.run(command, check=True, timeout=120, capture_output=True)
    return made


def test_what_their_package_calls_genuine_is_genuine_and_nothing_else(folder: Path) -> None:
    connector = Shopify(ShopifySettings.model_validate({"webhook_secret": SECRET}))
    body = json.dumps({**ORDER, "note": "Grüße 👋"}, ensure_ascii=False)
    right = signed(body.encode())
    cases = [
        (right, body), (right, f"{body} "), (right, body.replace("598.94", "5.94")),
        (signed(body.encode(), "another"), body), ({"X-Shopify-Hmac-Sha256": ""}, body),
        ({"X-Shopify-Hmac-Sha256": right["X-Shopify-Hmac-Sha256"].lower()}, body),
    ]  # fmt: skip
    others = {
        "X-Shopify-Topic": "orders/create", "X-Shopify-Shop-Domain": "fernway.myshopify.com",
        "X-Shopify-API-Version": VERSION, "X-Shopify-Webhook-Id": "b54557e4",
    }  # fmt: skip
    told = [({name.lower(): value for name, value in (headers | others).items()}, text) for headers, text in cases]
    (folder / "judge.cjs").write_text(JUDGE, "utf-8")
    command = ["node", "judge.cjs", SECRET, VERSION, json.dumps(told)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr

    ours = []
    for headers, text in told:
        try:
            connector.verify(WebhookRequest(headers, text.encode(), RECEIVED))
        except NotGenuine:
            ours.append(False)
        else:
            ours.append(True)
    assert ours == json.loads(done.stdout) == [True, False, False, False, False, False]


@pytest.mark.parametrize(("kind", "sample"), [("order", ORDER), ("refund", REFUND), ("customer", PERSON)])
def test_every_field_that_is_read_is_one_of_theirs(folder: Path, kind: str, sample: dict[str, Any]) -> None:
    types = folder / "node_modules/@shopify/shopify-api/dist/ts/rest/admin" / VERSION / f"{kind}.d.ts"
    fields = set(re.findall(r"^    (\w+): ", types.read_text("utf-8"), re.MULTILINE))
    assert {"id", "created_at"} <= fields
    assert set(sample) - fields == set()
