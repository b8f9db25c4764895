"""prefect.yaml against the campaigns."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from evergreet.deployment_file import Finding, Wanted

app = typer.Typer()


@app.command("prefect-yaml")
def prefect_yaml(
    file: Annotated[Path, typer.Option(help="The file that `prefect deploy` reads.")] = Path("prefect.yaml"),
    write: Annotated[
        bool, typer.Option("--write", help="Add what is missing; everything else stays as it is.")
    ] = False,
) -> None:
    """Check that every campaign has its deployment, and that Prefect understands all of the file; exit code 1 if not.

    It finds missing and unknown deployments, wrong entrypoints and options, stages that wake nothing, and misspelt
    keys, which Prefect ignores.

    Example: evergreet prefect-yaml --write
    """
    from evergreet.deployment_file import findings, read, wanted
    from evergreet.deployment_writing import beginning
    from evergreet.errors import ConfigurationError
    from evergreet.registry import find_campaigns
    from evergreet.settings import settings

    package = settings().campaigns
    campaigns = wanted(find_campaigns(package))
    try:
        text = before = file.read_bytes().decode("utf-8")  # line ends as they are
    except FileNotFoundError:
        if not write:
            typer.echo(f"There is no {file} here. Write one with: evergreet prefect-yaml --write")
            raise typer.Exit(1) from None
        text, before = beginning(), ""
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{file} cannot be read: {getattr(error, 'strerror', None) or error}.") from None
    found = findings(read(text, str(file)), campaigns, package)
    if write:
        text = _add(text, found, campaigns)
        found = findings(read(text, str(file)), campaigns, package)
        if text != before:
            file.write_bytes(text.encode("utf-8"))
    for finding in found:
        typer.echo(f"• {finding.sentence}")
    if found:
        raise typer.Exit(1)
    typer.echo(f"{file}: every campaign of {package} has its deployment ({len(campaigns)}), and nothing is misspelt.")


def _add(text: str, found: "list[Finding]", campaigns: "dict[str, Wanted]") -> str:
    from evergreet.deployment_writing import add_deployment, add_operation, add_trigger

    for finding in found:
        match finding.missing:
            case (name,) if name in campaigns:
                text = add_deployment(text, campaigns[name])
                typer.echo(f"Added the deployment {name}.")
            case (name,):
                text = add_operation(text, name)
                typer.echo(f"Added the deployment {name}.")
            case (name, stage):
                text = add_trigger(text, campaigns[name], stage)
                typer.echo(f"Added a trigger to {name}, for the stage {stage}.")
    return text
