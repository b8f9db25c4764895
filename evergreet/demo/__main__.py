"""`make demo`: a sample shop from its files to its mails, through Prefect, all below one folder.

What happened comes in day by day, stages move, campaigns write, all by the calls that commands and flows make;
today's run goes through Prefect, against a server of its own. Running it again changes nothing that was done.
Ctrl-C leaves a state to go on from.
"""

import sys
from pathlib import Path

from rich.console import Console

FOLDER = Path("demo")


def main() -> int:
    """Run the demo in the current folder; return the exit code."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    console.print("[bold]Evergreet demo[/]: all campaigns over two years of a sample shop. Ctrl-C stops it any time.")
    from evergreet.demo.story import tell  # noqa: PLC0415 - the line above is on screen before anything is loaded
    from evergreet.errors import ConnectorError, EvergreetError  # noqa: PLC0415

    try:
        tell(FOLDER, console)
    except (EvergreetError, ConnectorError) as error:
        Console(stderr=True).print(str(error), style="red", markup=False)
        return 1
    except KeyboardInterrupt:
        console.print("\nStopped. What was done is stored; `make demo` goes on from there.")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
