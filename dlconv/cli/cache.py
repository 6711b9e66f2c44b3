"""`dlconv cache`: what is kept of earlier conversions, and clearing it."""

from __future__ import annotations

import time

import click

from dlconv.cli.reporting import Reporting, reported
from dlconv.reports.table import duration, size, table


@click.command()
@click.option("--clear", is_flag=True, help="Remove everything that is kept.")
@reported
def cache(reporting: Reporting, clear: bool) -> None:
    """See and clear the cache of conversion steps.

    It lies in the user's cache folder, or in $DLCONV_HOME/cache; $DLCONV_CACHE_BYTES limits its size.
    """
    from dlconv.making.cache import Cache

    kept = Cache()
    if clear:
        freed = kept.clear()
        reporting.say(f"freed {size(freed)} in {kept.root}")
        reporting.answer({"root": str(kept.root), "freed_bytes": freed})
        return
    entries = kept.entries()
    total = sum(entry.size_bytes for entry in entries)
    rows = [
        (entry.what, size(entry.size_bytes), f"{duration(time.time() - entry.used)} ago", entry.key[:12])
        for entry in entries
    ]
    if rows:
        reporting.say("\n".join(table(("step", "size", "used", "key"), rows, right=("size", "used"))))
    reporting.say(f"{len(entries)} steps, {size(total)} of at most {size(kept.limit_bytes)} in {kept.root}")
    body = [
        {"key": entry.key, "what": entry.what, "path": entry.path, "size_bytes": entry.size_bytes, "used": entry.used}
        for entry in entries
    ]
    reporting.answer({"root": kept.root, "limit_bytes": kept.limit_bytes, "size_bytes": total, "entries": body})
