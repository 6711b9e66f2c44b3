"""One worker judges all planted faults of a module; the table lies beside, for `benchmarks/faults.py` as well."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dlconv.workers.crew import Crew


@pytest.fixture(scope="module")
def crew(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crew]:
    """Workers for the tests of a module; they find `broken_runtime`."""
    from dlconv.workers.crew import Crew

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(HERE), os.environ.get("PYTHONPATH")))))
        with Crew(tmp_path_factory.mktemp("logs"), slots=1, memory_limit_bytes=None, timeout_s=120) as made:
            yield made
