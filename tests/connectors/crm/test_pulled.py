"""Contacts of HubSpot and Salesforce become contacts of ours, with what they said, once and whatever is told again."""

from contextlib import closing
from datetime import timedelta
from typing import Any

from sqlalchemy import select
from sqlmodel import col

from connectors.calling import make_client
from connectors.crm.hubspot import HubSpot
from connectors.crm.hubspot_settings import HubSpotSettings
from connectors.crm.salesforce import Salesforce
from connectors.crm.salesforce_settings import SalesforceSettings
from evergreet.clock import FrozenClock
from evergreet.contracts import CrmSource
from evergreet.crm.pulling import Pulled, pull
from evergreet.crm.storing import Rules
from evergreet.database import Database
from models import Contact, CrmRow, Suppression
from tests.connectors.crm import hubspot_sink, salesforce_sink

DAY = timedelta(days=1)


def read(database: Database, source: CrmSource, clock: FrozenClock) -> Pulled:
    return pull(database, source, Rules(), clock, wait=lambda _: None)


def contacts(database: Database) -> dict[str, Any]:
    with database.read() as connection:
        return {row.source_id: row for row in connection.execute(select(Contact))}


def test_hubspot_is_read_into_contacts(database: Database, clock: FrozenClock) -> None:
    with hubspot_sink.HubSpotSink("pat") as sink:
        sink.add(51, "Ada@customer.example", hubspot_sink.START - DAY, firstname="Ada", hs_language="pt-br",
                 hs_timezone="europe_slash_berlin", phone="+49 30 901820", lifecyclestage="lead")  # fmt: skip
        sink.add(52, "bob@customer.example", hubspot_sink.START - DAY, hs_email_optout="true")
        sink.lists = {"41": hubspot_sink.ContactList({51})}
        settings = HubSpotSettings.model_validate({"token": "pat", "base_url": sink.url, "lists": {"vip": "41"}})
        with closing(HubSpot(settings, make_client(1))) as source:
            assert read(database, source, clock).new == 2
            ada = contacts(database)["51"]
            assert (ada.address, ada.timezone, ada.locale, ada.phone) == (
                "ada@customer.example", "Europe/Berlin", "pt_BR", "+4930901820",
            )  # fmt: skip
            assert ada.attributes == {"first_name": "Ada", "hubspot_stage": "lead", "vip": True}
            assert read(database, source, clock).sentence == "hubspot: nothing has changed."
            sink.change(51, firstname="", hs_merged_object_ids="52")
            del sink.contacts[52]
            assert read(database, source, clock).changed == 1
            assert contacts(database)["51"].attributes.get("first_name") is None
    with database.read() as connection:
        assert [row.address for row in connection.execute(select(Suppression))] == ["bob@customer.example"]
        rows = {row.source_id: row for row in connection.execute(select(CrmRow))}
    assert rows["52"].contact_id == rows["51"].contact_id == ada.id
    assert rows["52"].gone_at


def test_salesforce_is_read_into_contacts(database: Database, clock: FrozenClock) -> None:
    with salesforce_sink.SalesforceSink("app", "secret") as sink:
        one, two = salesforce_sink.name_of(1), salesforce_sink.name_of(2)
        sink.add(1, "ada@customer.example", salesforce_sink.START - DAY, FirstName="Ada")
        sink.add(2, "bob@customer.example", salesforce_sink.START - DAY, HasOptedOutOfEmail=True)
        settings = {"base_url": sink.url, "client_id": "app", "client_secret": "secret"}
        with closing(Salesforce(SalesforceSettings.model_validate(settings), make_client(1))) as source:
            assert read(database, source, clock).new == 2
            assert contacts(database)[one].attributes == {"first_name": "Ada"}
            sink.contacts[two] |= {"IsDeleted": True, "SystemModstamp": salesforce_sink.START}
            assert read(database, source, clock).gone == 1
            assert read(database, source, clock).gone == 0
    with database.read() as connection:
        assert [row.address for row in connection.execute(select(Suppression))] == ["bob@customer.example"]
        gone = connection.execute(select(col(CrmRow.source_id)).where(col(CrmRow.gone_at).is_not(None))).scalars().all()
    assert gone == [two]
