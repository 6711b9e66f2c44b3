"""What pages need besides dlconv's own dependencies: Jinja2 and Matplotlib, the extra `report`."""

from __future__ import annotations

from dlconv.errors import PackagesMissing


def check() -> None:
    """Raises PackagesMissing where the extra is not installed: asked before a run that shall end in a page begins."""
    try:
        import jinja2
        import matplotlib as drawing
    except ImportError as error:
        raise PackagesMissing(
            f"a page cannot be made here: {error}", wanted="the extra `report`", mend="pip install 'dlconv[report]'"
        ) from error
    _ = jinja2, drawing
