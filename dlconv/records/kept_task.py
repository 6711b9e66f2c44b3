"""The task of a bundle: the metric and the labels that it was judged by, kept so that `verify` measures it again."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dlconv.asked.metric import parse
from dlconv.errors import RequestError
from dlconv.model import digest_of

if TYPE_CHECKING:
    from collections.abc import Mapping

_LABELS: Final = "labels"
_ALPHABET: Final = "alphabet.txt"


def keep(folder: Path, metric: str, labels: Path | None) -> dict[str, Any] | None:
    """Copies the labels, and an alphabet that the metric reads, into the bundle; what its receipt says of them.
    None where there are no labels."""
    if labels is None:
        return None
    copies = {f"{_LABELS}{labels.suffix}": labels}
    if alphabet := _alphabet(metric):
        copies[_ALPHABET] = Path(alphabet)
        metric = _reading(metric, _ALPHABET)
    for name, source in copies.items():
        shutil.copyfile(source, folder / name)
    files = [{"path": name, "digest": digest_of(folder / name)} for name in copies]
    return {"metric": metric, "labels": next(iter(copies)), "files": files}


def kept(place: Path, receipt: Mapping[str, Any], labels: Path | None = None) -> tuple[str, Path | None]:
    """The metric of the bundle at `place`, and its labels, or those that are given in their place; "" and None where it
    has none. Raises RequestError for files that are not those of the receipt."""
    task = receipt.get("task")
    if task is None:
        return "", labels
    metric, digests = str(task["metric"]), {file["path"]: file["digest"] for file in task["files"]}
    alphabet = _alphabet(metric)
    # What is read is what the receipt has a digest of, and nothing else that it names.
    for name in [*([task["labels"]] if labels is None else []), *([alphabet] if alphabet else [])]:
        path = place / name
        is_inside = path.resolve().is_relative_to(place.resolve())
        if not (is_inside and path.is_file() and digest_of(path) == digests.get(name)):
            raise RequestError(
                f"{name} in {place} is not that of its receipt", mend="fetch the bundle whole, or --labels FILE"
            )
    if alphabet:
        metric = _reading(metric, str(place / alphabet))
    return metric, labels or place / task["labels"]


def _alphabet(metric: str) -> str:
    return parse(metric).words.get("alphabet", "") if metric else ""


def _reading(metric: str, alphabet: str) -> str:
    found = parse(metric)
    return str(replace(found, words={**found.words, "alphabet": alphabet}))
