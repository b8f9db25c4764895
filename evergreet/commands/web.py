"""`evergreet serve`: the web application."""

from typing import Annotated

import typer

app = typer.Typer()


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for all.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.", min=0, max=65535)] = 8025,
) -> None:
    """Serve unsubscribe links, providers' webhooks, /v1 for events and /health, behind a proxy that speaks HTTPS.

    Example: evergreet serve --port 8025
    """
    import uvicorn

    from evergreet.commands.opening import open_database
    from evergreet.settings import settings
    from evergreet.web.app import create_app

    with open_database() as database:
        app = create_app(database, settings())
        uvicorn.run(app, host=host, port=port, server_header=False, timeout_graceful_shutdown=10)
