"""`dlconv judge`: saved evidence, judged again by other bars."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dlconv.cli.arguments import bars_of, bars_options
from dlconv.cli.release_options import conclude, release_options
from dlconv.cli.reporting import Reporting, reported

if TYPE_CHECKING:
    from dlconv.delivery import ReportFiles


@click.command()
@click.argument("evidence", nargs=-1, required=True, type=click.Path(path_type=Path))
@bars_options
@release_options
@reported
def judge(reporting: Reporting, files: ReportFiles, evidence: tuple[Path, ...], **bars: Any) -> int:
    """Judge saved EVIDENCE by other bars: bundles, receipts, or reports of `dlconv verify --json`. Nothing is run."""
    from dlconv.judging import judge_again

    return conclude(reporting, judge_again(evidence, bars_of(**bars)), files)
