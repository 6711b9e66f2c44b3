"""The rules of the house that a linter cannot hold: who may import whom, and what is loaded when."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from dlconv.making.cache import WORKER_SIDE

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "dlconv"
FRAMEWORKS = {
    *("ai_edge_litert", "jax", "keras", "onnx", "onnx2tf", "onnxruntime", "onnxscript", "onnxsim", "onnxslim"),
    *(
        "h5py",
        "jax2onnx",
        "jaxlib",
        "nncf",
        "PIL",
        "litert_torch",
        "openvino",
        "sklearn",
        "tensorflow",
        "tensorrt",
        "tf2onnx",
        "tf_keras",
    ),
    *("torch", "transformers"),
}

# Imports point to the same line or to one above. A new room is given its place here.
LAYERS = (
    ("values", "asked drawing errors events files formats images model opening plugins progress samples"),
    ("ONNX graphs", "graphs"),
    ("runtimes", "runtimes"),
    ("edges", "convert"),
    ("workers", "workers"),
    ("validators", "validators"),
    ("steps, metrics and the source", "inspection making metrics reference"),
    ("candidates", "candidate"),
    ("what is said of candidates, and of the machine", "blame hardware precision testing"),
    ("plans and records", "planning records"),
    ("comparisons and measurements", "attempts diffing judging latency shortfall"),
    ("the two lines", "comparing pipeline targets verification"),
    ("releases and tuning", "project tuning"),
    ("reports", "reports"),
    ("trackers", "trackers"),
    ("what a pipeline reads", "delivery"),
    ("doors", "__main__ cli"),
)
PLACE = {name: place for place, (_, names) in enumerate(LAYERS) for name in names.split()}

# What runs in a toolchain's interpreter, which need not have more than the standard library and NumPy.
PARENT_SIDE = {
    f"dlconv.workers.{name}"
    for name in ("crew", "gates", "install", "interpreters", "pip_settings", "toolchains", "worker")
}


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imports_of(path: Path) -> set[str]:
    """The modules of dlconv that the file names in its imports, those in functions and for type checkers included."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            members = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= (members & MODULES.keys()) or {node.module}
    return {name for name in found if name.startswith("dlconv.")}


def room_of(module: str) -> str:
    return module.split(".")[1]


def python(code: str, *, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], input=stdin, capture_output=True, text=True, timeout=120, cwd=ROOT
    )


@pytest.mark.parametrize("module", [name for name in MODULES if name != "dlconv"])
def test_imports_point_one_way(module: str) -> None:
    assert room_of(module) in PLACE, f"{module}: say in LAYERS where it stands"
    place = PLACE[room_of(module)]
    against = sorted(name for name in imports_of(MODULES[module]) if PLACE[room_of(name)] > place)
    assert not against, f"{module} ({LAYERS[place][0]}) must not know of {', '.join(against)}"


def test_what_runs_in_workers_is_in_the_key_of_a_cached_step() -> None:
    """Else a step of older code would be taken for one of today's."""
    running = [name for name in MODULES if room_of(f"{name}.") in ("convert", "runtimes")]
    running += ["dlconv.workers.child", "dlconv.workers.tasks", "dlconv.workers.timing"]
    reached: set[str] = set()
    while running:
        module = running.pop()
        if module in MODULES and module not in reached:
            reached.add(module)
            running += imports_of(MODULES[module])
    rooms = {room_of(f"{name}.") for name in reached}
    assert "graphs" in rooms and rooms <= {*WORKER_SIDE}, sorted(rooms - {*WORKER_SIDE})


def test_an_edge_knows_of_no_other_edge() -> None:
    edges = {name for name in MODULES if re.fullmatch(r"dlconv\.convert\.\w+_to_\w+", name)}
    assert edges
    pairs = [(edge, other) for edge in sorted(edges) for other in imports_of(MODULES[edge]) & edges if other != edge]
    assert not pairs


def test_import_dlconv_loads_nothing_heavy() -> None:
    done = python("import sys, dlconv; print(*sorted({name.split('.')[0] for name in sys.modules}))")
    loaded = set(done.stdout.split())
    assert done.returncode == 0 and "dlconv" in loaded, done.stderr
    assert not loaded & (FRAMEWORKS | {"numpy", "click", "rich", "psutil"})


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["--version"],
        *([command, "--help"] for command in ("export", "plan", "inspect", "doctor", "toolchain", "cache")),
    ],
    ids=" ".join,
)
def test_help_loads_no_framework(words: list[str]) -> None:
    code = (
        "import sys\n"
        "from dlconv.cli.main import run\n"
        f"code = run({words!r})\n"
        "print('LOADED', *sorted({name.split('.')[0] for name in sys.modules}))\n"
        "sys.exit(code)\n"
    )
    done = python(code)
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.splitlines()[-1].split())
    assert "LOADED" in loaded
    # These are no frameworks, but help and version answer at once: they need none of them.
    assert not loaded & (FRAMEWORKS | ({"click", "numpy", "rich"} if len(words) == 1 else set()))


def test_what_runs_in_workers_needs_numpy_alone() -> None:
    names = [
        name
        for name in MODULES
        if name.startswith(("dlconv.convert", "dlconv.runtimes", "dlconv.workers")) and name not in PARENT_SIDE
    ]
    code = (
        "import importlib, sys\n"
        "allowed = set(sys.stdlib_module_names) | {'numpy', 'dlconv'}\n"
        "class Gate:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] not in allowed:\n"
        "            raise ModuleNotFoundError(f'No module named {name!r} in a toolchain', name=name)\n"
        "import numpy\n"
        "sys.meta_path.insert(0, Gate())\n"
        "broken = []\n"
        "for name in sys.stdin.read().split():\n"
        "    try:\n"
        "        importlib.import_module(name)\n"
        "    except ModuleNotFoundError as error:\n"
        "        broken.append(f'{name}: {error}')\n"
        "sys.exit('\\n'.join(broken) or 0)\n"
    )
    done = python(code, stdin="\n".join(names))
    assert done.returncode == 0, done.stderr


def test_the_package_offers_what_it_names() -> None:
    import dlconv

    assert {"export", "plan", "inspect", "DlconvError", "__version__"} <= set(dlconv.__all__) <= set(dir(dlconv))
    assert all(getattr(dlconv, name) is not None for name in dlconv.__all__)


def text_files() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if listed.returncode != 0:
        pytest.skip(f"the files of the project are asked of git: {listed.stderr.strip()}")
    binary = {".pt", ".pt2", ".onnx", ".keras", ".npz", ".tflite", ".png", ".bin"}
    return [
        path
        for name in listed.stdout.split("\0")
        if name and (path := ROOT / name).suffix not in binary and path.is_file()
    ]


# In pieces, so that this file does not hold what it looks for.
FOREIGN = re.compile(
    r"(?<![\w.~$}])/(?:root|home|opt|work|Users|mnt)/\w"
    + "|"
    + "|".join(
        re.escape("".join(parts))
        for parts in (("pypi", ".org"), ("python", "hosted"), ("npmjs", ".org"), ("deb.", "debian"))
    )
)


def test_no_file_names_the_machine_it_was_written_on() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}"
        for path in text_files()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if FOREIGN.search(line)
    ]
    assert not found, "\n".join(found)
    assert FOREIGN.search(f"cd {os.sep}root{os.sep}x")


def test_files_are_small() -> None:
    lines = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in MODULES.items()}
    assert not {name: count for name, count in lines.items() if count > 350}
