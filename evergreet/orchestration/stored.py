"""Campaigns whose file is gone: they run on from the definition, options and templates in the ledger."""

from typing import Any

from prefect import flow
from pydantic import ConfigDict

from evergreet.balance import Report
from evergreet.campaign import Options, Purpose
from evergreet.campaigns import required, template_source, version_of
from evergreet.commands.opening import open_database
from evergreet.errors import EvergreetError
from evergreet.orchestration.runs import run_campaign, run_name
from evergreet.rendering import TemplateSource


class StoredOptions(Options):
    """The options a stored version was made with, whatever their names were."""

    model_config = ConfigDict(extra="allow")


def stored_flow(name: str) -> tuple[Any, StoredOptions]:
    """Return a flow that runs the campaign's current version as stored, and the options it was made with."""
    with open_database() as database, database.read() as connection:
        state = required(connection, name)
        if state.version_id is None:
            raise EvergreetError(f"Campaign {name!r} has no version in the ledger: run `evergreet launch {name}`.")
        version = version_of(connection, state.version_id)

    def load(template: str, _purpose: Purpose) -> TemplateSource:
        with open_database() as database, database.read() as connection:
            return template_source(connection, version.templates[template])

    @flow(name=name, flow_run_name=run_name)
    async def stored(options: StoredOptions) -> Report:
        return await run_campaign(version.campaign, options, load=load)

    return stored, StoredOptions(**version.options)
