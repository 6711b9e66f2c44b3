"""The worker's main program: `python child.py CALLS_FD ANSWERS_FD LIFELINE_FD SCRATCH`.

It answers one call at a time, in order. What the frameworks print goes to stdout and stderr, which are the log;
the answers have a pipe of their own. When the parent dies, its end of the lifeline closes and the worker leaves.
Standard library and NumPy alone.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any


def _borrow_package(root: Path) -> None:
    # The toolchain's interpreter need not have dlconv: load the parent's copy, and only it. Its folder is not put
    # on sys.path, where everything beside it (the parent's NumPy, say) would hide the toolchain's own packages.
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != root / "workers"]
    spec = importlib.util.spec_from_file_location(
        "dlconv", root / "__init__.py", submodule_search_locations=[str(root)]
    )
    assert spec is not None and spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules["dlconv"] = package
    spec.loader.exec_module(package)


def _leave_with_parent(lifeline: int) -> None:
    def wait() -> None:
        os.read(lifeline, 1)
        os._exit(0)

    threading.Thread(target=wait, daemon=True).start()


def _resolve(name: str, kept: dict[int, Any]) -> Any:
    if name.startswith("#"):
        handle, _, method = name[1:].partition(".")
        return getattr(kept[int(handle)], method)
    module, _, function = name.partition(":")
    return getattr(importlib.import_module(module), function)


def _answer(call: dict[str, Any], kept: dict[int, Any], scratch: Path, write: Callable[[Any], None]) -> dict[str, Any]:
    from dlconv import progress
    from dlconv.errors import DlconvError, is_out_of_memory
    from dlconv.workers.protocol import pack, unpack

    number = call["id"]
    progress.begin(lambda told: write({"id": number, "progress": told}))
    try:
        if call["call"] == "drop":
            kept.pop(call["args"]["handle"], None)
            return {"id": number, "ok": None}
        value = _resolve(call["call"], kept)(**unpack(call["args"]))
        if call.get("keep"):
            kept[number] = value
            value = number
        return {"id": number, "ok": pack(value, scratch, f"a{number}")}
    except DlconvError as error:
        traceback.print_exc()
        return {"id": number, "error": error.to_dict()}
    except Exception as error:  # the adapter's edge: the parent raises it again as ours
        traceback.print_exc()
        kind = type(error)
        name = kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
        return {"id": number, "raised": {"type": name, "message": str(error), "memory": is_out_of_memory(error)}}
    finally:
        progress.begin(None)  # nothing comes after the answer


def main(argv: list[str]) -> None:
    """Answer calls until the parent closes the pipe."""
    calls_fd, answers_fd, lifeline = (int(word) for word in argv[1:4])
    scratch = Path(argv[4])
    _borrow_package(Path(__file__).resolve().parent.parent)
    _leave_with_parent(lifeline)
    kept: dict[int, Any] = {}
    with open(calls_fd, encoding="utf-8") as calls, open(answers_fd, "w", encoding="utf-8") as answers:  # noqa: PTH123

        def write(message: Any) -> None:
            answers.write(json.dumps(message) + "\n")
            answers.flush()

        for line in calls:
            answer = _answer(json.loads(line), kept, scratch, write)
            sys.stdout.flush()
            sys.stderr.flush()
            write(answer)
    # Frameworks' threads and destructors can hang or crash at exit; every answer has been given.
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv)
