"""The one tree of errors: what was met, what was wanted, what to do next, and the exit code.

Foreign exceptions are translated into this tree once, at the adapter's edge, with the original chained.
An error crosses the border of a worker as data (`to_dict`, `from_dict`) and is the same error on the other side.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_WHERE = re.compile(
    r"(?:\w[\w.]*: )?(?:Exception from |FrontEnd API failed|Model wasn't fully converted|-- .* with a message:|"
    r"\[ONNX Frontend\]|While validating|(?:\[\w+\] .* )?Check '.*' failed at |Traceback |  File |Summary:$)"
)


def cause_of(message: str) -> str:
    """The one line of a foreign message that tells the cause: more than an exception's class or a place in a source."""
    lines = [line.strip() for line in _COLOURS.sub("", message).splitlines() if line.strip()]
    telling = [line for line in lines if not _WHERE.match(line)]
    return (telling or lines or ["(no message)"])[0][:300]


class DlconvError(Exception):
    """Base of every error that dlconv raises on purpose.

    met: what was found, one line. wanted: what would have been right. mend: the next command or step.
    problems: further lines, when several troubles of one kind were found together.
    log: path of the full log, when there is one.
    """

    exit_code: ClassVar[int] = 70
    code: ClassVar[str] = "internal"

    def __init__(
        self,
        met: str,
        *,
        wanted: str = "",
        mend: str = "",
        problems: tuple[str, ...] = (),
        log: str = "",
    ) -> None:
        super().__init__(met)
        self.met = met
        self.wanted = wanted
        self.mend = mend
        self.problems = problems
        self.log = log

    def to_dict(self) -> dict[str, Any]:
        """The error as JSON-able data."""
        return {
            "code": self.code,
            "met": self.met,
            "wanted": self.wanted,
            "mend": self.mend,
            "problems": list(self.problems),
            "log": self.log,
        }

    @staticmethod
    def from_dict(data: dict[str, Any]) -> DlconvError:
        """The error that `to_dict` wrote, as its own class; an unknown code gives the base class."""
        kind = _BY_CODE.get(data["code"], DlconvError)
        return kind(
            data["met"],
            wanted=data.get("wanted", ""),
            mend=data.get("mend", ""),
            problems=tuple(data.get("problems", ())),
            log=data.get("log", ""),
        )


class RequestError(DlconvError):
    """What was asked for is wrong: a file, an option, samples. Exit 2."""

    exit_code = 2
    code = "request"


class FormatError(RequestError):
    """The file is not of a kind that can be converted, or it is damaged."""

    code = "format"


class SignatureError(RequestError):
    """The model's inputs are unknown, or what was given does not fit them."""

    code = "signature"


class SamplesError(RequestError):
    """The samples given do not fit the model."""

    code = "samples"


class MachineError(DlconvError):
    """The request is right but this machine cannot serve it. Exit 3."""

    exit_code = 3
    code = "machine"


class ToolchainMissing(MachineError):
    """A converter or runtime needs packages that are not here."""

    code = "toolchain-missing"


class PackagesMissing(MachineError):
    """What was asked for besides (a page, a tracker), or the model's own operators, need packages that are not here."""

    code = "packages-missing"


class HardwareMissing(MachineError):
    """A device, its driver or an extension of the CPU that was asked for is not in this machine."""

    code = "hardware-missing"


class PluginError(MachineError):
    """A package that is installed here adds to dlconv, and cannot be loaded or used."""

    code = "plugin"


class TrackerError(MachineError):
    """A tracker that the result shall be logged to does not take it."""

    code = "tracker"


class OutputError(MachineError):
    """The result cannot be written: no permission, no space."""

    code = "output"


class RunEnded(MachineError):
    """The run was ended while this was under way (Ctrl-C, or another part of it failed): nothing is known of it."""

    code = "ended"


class ConversionError(DlconvError):
    """No route to the target succeeded. Exit 4."""

    exit_code = 4
    code = "conversion"


class SourceError(ConversionError):
    """The source model itself does not run on the samples: there is nothing to compare with."""

    code = "source"


class StepError(ConversionError):
    """One step of a route failed with an exception of the framework."""

    code = "step"


class Unsupported(StepError):
    """The converter knows that it cannot do this model, and says why."""

    code = "unsupported"


class Unreachable(Unsupported):
    """No route to the target can do this model: no other is tried."""

    code = "unreachable"


class WorkerCrashed(StepError):
    """The worker process was ended by a signal or left without an answer."""

    code = "crash"


class WorkerOutOfMemory(StepError):
    """The worker process passed its memory limit, or the system had no memory left."""

    code = "out-of-memory"


class WorkerTimedOut(StepError):
    """The worker process passed its time limit."""

    code = "timeout"


class InternalError(DlconvError):
    """A fault of dlconv's own. Exit 70."""

    code = "internal"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a framework had no memory left, by the exception's kind or its words: no refusal of a model."""
    text = str(error).lower()
    words = ("bad_alloc", "can't allocate memory", "out of memory", "failed to allocate")
    return isinstance(error, MemoryError) or any(word in text for word in words)


def _tree(kind: type[DlconvError]) -> dict[str, type[DlconvError]]:
    found = {kind.code: kind}
    for below in kind.__subclasses__():
        found.update(_tree(below))
    return found


_BY_CODE = _tree(DlconvError)
