"""The group of all commands, for click."""

from __future__ import annotations

import importlib
from difflib import get_close_matches

import click

from dlconv import __version__
from dlconv.cli.main import COMMANDS, help_text
from dlconv.cli.reporting import WORDS


class _Commands(click.Group):
    """A group whose commands are imported one by one, when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        near = [] if args[0] in COMMANDS else get_close_matches(args[0], COMMANDS, n=1)
        if near and not ctx.resilient_parsing:
            ctx.fail(f"No such command {args[0]!r}. (Did you mean {near[0]!r}?)")
        return super().resolve_command(ctx, args)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta[WORDS] = tuple(args)  # contexts share it: what a command was asked, word for word
        return super().parse_args(ctx, args)

    def get_help(self, ctx: click.Context) -> str:
        return help_text().rstrip()


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    help="Convert trained models for deployment runtimes, and prove that each file still is the same model.",
)
@click.option("-q", "--quiet", count=True, help="Say less: results alone; twice, errors alone.")
@click.option("-v", "--verbose", count=True, help="Say more: notes of each step, and when each begins.")
@click.version_option(__version__, prog_name="dlconv", message="%(prog)s %(version)s")
@click.pass_context
def root(ctx: click.Context, quiet: int, verbose: int) -> None:
    """Leave the verbosity to the command that follows."""
    ctx.obj = verbose - quiet
