"""The command line's door: the commands by name, each loaded when it is called; errors and exit codes.

Exit codes: 0 passed, 1 judged and failed, 2 wrong request, 3 this machine cannot or nothing could be concluded,
4 the conversion failed, 70 a fault of dlconv's own; 130, 143 and 141 for Ctrl-C, SIGTERM and a closed pipe.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
from typing import TYPE_CHECKING, Any

import click

from dlconv import __version__
from dlconv.cli import faults

if TYPE_CHECKING:
    from collections.abc import Sequence

# Name: where the command is, and what `dlconv --help` says of it. Nothing is imported to show this.
_COMMANDS = {
    "export": ("dlconv.cli.export:export", "Convert a model, and prove that each result is the same model."),
    "plan": ("dlconv.cli.plan:plan", "Show the routes to a target, and what is missing here."),
    "inspect": ("dlconv.cli.inspect:inspect", "Tell what a file is: format, signature, operators, size."),
    "doctor": ("dlconv.cli.doctor:doctor", "Prove what works on this machine, and say how to mend the rest."),
    "toolchain": ("dlconv.cli.toolchain:toolchain", "List, install and remove managed environments."),
    "cache": ("dlconv.cli.cache:cache", "See and clear the cache of conversion steps."),
    "completion": ("dlconv.cli.completion:completion", "Print the completion script of a shell."),
}


class _Commands(click.Group):
    """A group whose commands are imported one by one, when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, _, name = _COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, about) for name, (_, about) in _COMMANDS.items()])


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Exit codes: 0 passed, 1 judged and failed, 2 wrong request, 3 this machine cannot or nothing could be "
    "concluded, 4 the conversion failed, 70 a fault of dlconv's own.",
)
@click.option("-q", "--quiet", count=True, help="Say less: results alone; twice, errors alone.")
@click.option("-v", "--verbose", count=True, help="Say more: notes of each step; twice, where the logs are.")
@click.version_option(__version__, prog_name="dlconv", message="%(prog)s %(version)s")
@click.pass_context
def root(ctx: click.Context, quiet: int, verbose: int) -> None:
    """Convert trained models for deployment runtimes, and prove that each file still is the same model."""
    ctx.obj = verbose - quiet


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command line, `sys.argv` by default; its exit code."""
    try:
        code: Any = root.main(arguments, prog_name="dlconv", standalone_mode=False)
        sys.stdout.flush()
    except SystemExit as leaving:
        # click leaves with 1 where a pipe was closed, and nowhere else; here 1 would mean a failed verdict.
        if leaving.code == 1:
            return faults.closed_pipe()
        raise
    except BrokenPipeError:
        return faults.closed_pipe()
    except (KeyboardInterrupt, click.Abort):
        return faults.interrupted()
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except Exception as error:  # the last door: told to the user with its exit code, and logged in full
        return faults.told(error)
    return code if isinstance(code, int) else 0


def main() -> None:
    """The entry point of the `dlconv` script."""
    # Ended from outside, the workers are ended too: by the exits of their `with` blocks.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    code = run()
    sys.stderr.flush()
    if code == faults.INTERRUPTED:
        os._exit(code)  # threads that wait for what was ended must not hold the process
    sys.exit(code)
