"""Groups of commands that list when no command of theirs is named."""

from typing import Any

from typer.core import TyperGroup


class ListFirst(TyperGroup):
    """Without a command of its own it lists: `evergreet broadcasts new-product-announcement`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put `list` where no command stands."""
        known = {*self.commands, "--help"}
        return super().parse_args(ctx, args if args and args[0] in known else ["list", *args])
