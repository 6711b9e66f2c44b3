"""`dlconv doctor`: what works on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dlconv.cli.reporting import Reporting, reported

if TYPE_CHECKING:
    from dlconv.hardware.doctor import Check


@click.command()
@click.option("--timeout", "timeout_s", type=float, default=120.0, show_default=True, help="Of each proof, in seconds.")
@reported
def doctor(reporting: Reporting, timeout_s: float) -> int:
    """Prove what works on this machine, and say how to mend the rest.

    Each runtime runs a tiny model, and each driver is asked, in a process of its own: what is here and fails the proof
    is told as broken. Exit code 3 if anything is broken, or a toolchain, runtime or converter is not here; delegates
    and devices may be absent.
    """
    from dlconv.hardware.doctor import examine
    from dlconv.reports.diagnosis import lines

    def tell(check: Check) -> None:
        if reporting.verbosity > 0:
            click.echo(f"{check.kind} {check.name}: {check.standing}", err=True)

    diagnosis = examine(timeout_s=timeout_s, on_check=tell)
    reporting.say("\n".join(lines(diagnosis)))
    reporting.answer(diagnosis.to_dict())
    return 0 if diagnosis.is_healthy else 3
