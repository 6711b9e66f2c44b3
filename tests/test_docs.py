"""What the documents say is there: links, error codes, exit codes, commands, targets of the Makefile."""

from __future__ import annotations

import re
import shlex
from itertools import pairwise
from pathlib import Path

import click
import pytest

from dlconv import errors
from dlconv.asked.options import TARGETS, parse_targets
from dlconv.hardware.probes import PROBES
from dlconv.workers import toolchains

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "models").rglob("*.md")])
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def anchors(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(FENCE.sub("", page.read_text(encoding="utf-8"))):
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        goal = page if not path else (page.parent / path).resolve()
        assert goal.exists() and goal.is_relative_to(ROOT), f"{name_of(page)} links to {link}"
        assert not anchor or anchor in anchors(goal), f"{name_of(page)} links to {link}, which has no such heading"


def error_classes(kind: type[errors.DlconvError] = errors.DlconvError) -> list[type[errors.DlconvError]]:
    return [kind, *(found for below in kind.__subclasses__() for found in error_classes(below))]


@pytest.mark.parametrize("kind", error_classes(), ids=lambda kind: kind.__name__)
def test_every_error_is_documented_with_its_exit_code(kind: type[errors.DlconvError]) -> None:
    page = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    (row,) = re.findall(rf"^\| `{re.escape(kind.code)}` \| (\d+) \| (.+) \| (.+) \|$", page, re.MULTILINE)
    assert int(row[0]) == kind.exit_code
    assert all(re.search(r"\w{3}", cell) for cell in row[1:]), "it has a cause and a mend"
    assert re.search(rf"^\| {kind.exit_code} \| ", page, re.MULTILINE), "the exit code is in the first table"


def test_every_toolchain_is_documented() -> None:
    page = (ROOT / "docs" / "toolchains.md").read_text(encoding="utf-8")
    for toolchain in toolchains.TOOLCHAINS:
        assert re.search(rf"^\| `{toolchain.name}` \| .*{re.escape(toolchain.extra)}", page, re.MULTILINE)


def test_every_probe_of_hardware_is_documented() -> None:
    page = (ROOT / "docs" / "hardware.md").read_text(encoding="utf-8")
    rows = [row.group(1) for row in re.finditer(r"^\| (`[^|]+) \|", page, re.MULTILINE)]
    for probe in PROBES:
        assert probe.kind == "runtime" or any(f"`{probe.name}`" in row for row in rows), probe.name


def commands_in(page: Path) -> list[list[str]]:
    """The command lines of dlconv that the page shows, in fences and in line; a backslash continues one."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    shown = re.findall(r"^(?:\$ )?(dlconv .+)$", "\n".join(FENCE.findall(text)), re.MULTILINE)
    shown += re.findall(r"`(dlconv [^`]+)`", FENCE.sub("", text))
    return [shlex.split(line, comments=True) for line in shown]


def options_of(command: click.Command) -> set[str]:
    return {word for each in command.params for word in (*each.opts, *each.secondary_opts)} | {"--help", "-h"}


@pytest.mark.parametrize("page", [page for page in PAGES if commands_in(page)], ids=name_of)
def test_commands_and_options_exist(page: Path) -> None:
    from dlconv.cli.root import root

    context = click.Context(root)
    for words in commands_in(page):
        told = f"{name_of(page)}: {' '.join(words)}"
        command: click.Command = root
        known = options_of(root) | {"--version"}
        for word in words[1:]:
            if word.startswith("-"):
                assert word.partition("=")[0] in known, f"{told}: there is no option {word}"
            elif isinstance(command, click.Group) and re.fullmatch(r"[a-z]+", word):
                found = command.get_command(context, word)
                assert found is not None, f"{told}: there is no command {word}"
                command, known = found, known | options_of(found)


@pytest.mark.parametrize("page", [page for page in PAGES if commands_in(page)], ids=name_of)
def test_what_commands_are_told_is_of_what_there_is(page: Path) -> None:
    """Targets after --to, and what an option takes of a few words. Capitals stand for what a reader has."""
    from dlconv.cli.root import root

    context = click.Context(root)
    for words in commands_in(page):
        command = root.get_command(context, words[1]) if len(words) > 1 else None
        if command is None:
            continue
        for option, value in pairwise(words):
            known = next((each for each in command.params if option in each.opts and option.startswith("--")), None)
            if known is None or value.isupper() or re.search(r"[A-Z|\[]", value):
                continue
            if option == "--to":
                assert set(parse_targets(value)) <= set(TARGETS), f"{name_of(page)}: {' '.join(words)}"
            elif isinstance(known.type, click.Choice):
                assert value in known.type.choices, f"{name_of(page)}: {' '.join(words)}"


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    known = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        named = re.findall(r"`make ([a-z-]+)[^`]*`", text) + re.findall(r"^(?:\$ )?make ([a-z-]+)", text, re.MULTILINE)
        assert set(named) <= known, f"{name_of(page)} names {set(named) - known}"


def test_readme_begins_with_the_two_commands() -> None:
    shown = re.findall(r"^make \w+", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert shown[:2] == ["make demo", "make test"]
    assert "make test" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
