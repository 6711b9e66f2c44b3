"""`dlconv completion`: the script that teaches a shell to complete dlconv's commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

_INSTALL = {
    "bash": 'add to ~/.bashrc:  eval "$(dlconv completion bash)"',
    "zsh": 'add to ~/.zshrc:  eval "$(dlconv completion zsh)"',
    "fish": "run once:  dlconv completion fish > ~/.config/fish/completions/dlconv.fish",
}


@click.command(epilog="  ".join(f"{shell}: {how}." for shell, how in _INSTALL.items()))
@click.argument("shell", type=click.Choice(list(_INSTALL)))
def completion(shell: str) -> None:
    """Print the completion script of a SHELL."""
    from dlconv.cli.root import root

    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"click cannot complete in {shell}")
    click.echo(f"# {_INSTALL[shell]}")
    click.echo(kind(root, {}, "dlconv", "_DLCONV_COMPLETE").source())
