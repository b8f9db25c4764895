"""`/health`: whether the store can be reached and has the schema of this program."""

from http import HTTPStatus

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from sqlalchemy.exc import SQLAlchemyError

from evergreet.database import Database, check_schema, schema_revisions
from evergreet.errors import EvergreetError


def router(database: Database) -> APIRouter:
    """Return the route over this database."""
    routes = APIRouter()

    @routes.api_route("/health", methods=["GET", "HEAD"])
    def health() -> JSONResponse:
        try:
            check_schema(database)
            revision, _ = schema_revisions(database)
        except EvergreetError as error:
            reason = str(error)
        except SQLAlchemyError as error:
            reason = f"The database answered with an error ({type(error).__name__})."
        else:
            return JSONResponse({"status": "ok", "schema": revision})
        return JSONResponse({"status": "down", "reason": reason}, HTTPStatus.SERVICE_UNAVAILABLE)

    return routes
