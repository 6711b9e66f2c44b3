"""The command line's door: help and version at once, the commands when they are called; errors and exit codes.

Exit codes: 0 passed, 1 judged and failed, 2 wrong request, 3 this machine cannot or nothing could be concluded,
4 the conversion failed, 70 a fault of dlconv's own; 130, 143 and 141 for Ctrl-C, SIGTERM and a closed pipe.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from dlconv import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

# Name: where the command is, and what `dlconv --help` says of it. Nothing is imported to show this.
COMMANDS = {
    "export": ("dlconv.cli.export:export", "Convert a model, and prove that each result is the same model."),
    "verify": ("dlconv.cli.verify:verify", "Judge whether artifacts still are the model that they were made from."),
    "judge": ("dlconv.cli.judge:judge", "Judge saved evidence again, by other bars."),
    "diff": ("dlconv.cli.diff:diff", "Find the operator at which two models part."),
    "bench": ("dlconv.cli.bench:bench", "Time artifacts side by side: percentiles, ratios and their intervals."),
    "tune": ("dlconv.cli.tune:tune", "Find the best target, precision and threads: a front, and a winner."),
    "report": ("dlconv.cli.report:report", "Make a page of what was recorded, or of two releases."),
    "plan": ("dlconv.cli.plan:plan", "Show the routes to a target, and what is missing here."),
    "inspect": ("dlconv.cli.inspect:inspect", "Tell what a file is: format, signature, operators, size."),
    "init": ("dlconv.cli.init:init", "Write a project file, dlconv.toml, for a model."),
    "doctor": ("dlconv.cli.doctor:doctor", "Prove what works on this machine, and say how to mend the rest."),
    "toolchain": ("dlconv.cli.toolchain:toolchain", "List, install and remove managed environments."),
    "cache": ("dlconv.cli.cache:cache", "See and clear the cache of conversion steps."),
    "completion": ("dlconv.cli.completion:completion", "Print the completion script of a shell."),
}

_HELP = """\
Usage: dlconv [OPTIONS] COMMAND [ARGS]...

  Convert trained models for deployment runtimes, and prove that each file still
  is the same model.

Options:
  -q, --quiet    Say less: results alone; twice, errors alone.
  -v, --verbose  Say more: notes of each step, and when each begins.
  --version      Show the version and exit.
  -h, --help     Show this message and exit; also after a command.

Commands:
{commands}

  Exit codes: 0 passed, 1 judged and failed, 2 wrong request, 3 this machine
  cannot or nothing could be concluded, 4 the conversion failed, 70 a fault of
  dlconv's own.
"""


def help_text() -> str:
    """What `dlconv --help` says."""
    return _HELP.format(commands="\n".join(f"  {name:11} {about}" for name, (_, about) in COMMANDS.items()))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command line, `sys.argv` by default; its exit code."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    try:
        code = _run(words)
        sys.stdout.flush()
    except SystemExit as leaving:
        # click leaves with 1 where a pipe was closed, and nowhere else; here 1 would mean a failed verdict.
        if leaving.code == 1:
            return _closed_pipe()
        raise
    except BrokenPipeError:
        return _closed_pipe()
    return code


def _run(words: list[str]) -> int:
    # Loading click takes longer than all else that these two do.
    if words in (["--help"], ["-h"]):
        sys.stdout.write(help_text())
        return 0
    if words == ["--version"]:
        sys.stdout.write(f"dlconv {__version__}\n")
        return 0
    import click

    from dlconv.cli import faults
    from dlconv.cli.root import root

    try:
        code: Any = root.main(words, prog_name="dlconv", standalone_mode=False)
    except BrokenPipeError:
        raise
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
    import signal

    # Ended from outside, the workers are ended too: by the exits of their `with` blocks.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    code = run()
    sys.stderr.flush()
    if code == 130:
        os._exit(code)  # threads that wait for what was interrupted must not hold the process
    sys.exit(code)


def _closed_pipe() -> int:
    # Whoever read the output has left. Python flushes stdout once more at exit, and would complain.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 141
