"""What the builder is told: flags, limits, optimisation profiles, and the cache of timings."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dlconv import progress
from dlconv.errors import StepError
from dlconv.runtimes import tensorrt_api as api

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dlconv.runtimes.nvidia_driver import Driver

    Profile = Mapping[str, Sequence[Sequence[int]]]
    """By input, the least, best and largest shape (or values, of an input that decides shapes)."""

_FLAGS: Final = {
    "version_compatible": ("VERSION_COMPATIBLE", "plans for other versions"),
    "refit": ("REFIT", "refitting"),
    "strip": ("STRIP_PLAN", "stripped plans"),
    "weight_streaming": ("WEIGHT_STREAMING", "streaming of weights"),
}
"""Options that are one flag of the builder's each, and what to call what it does."""
_LEVELS: Final = {"ampere-plus": "AMPERE_PLUS", "same-compute-capability": "SAME_COMPUTE_CAPABILITY"}
_DETAILED: Final = "DETAILED"


def configured(trt: Any, builder: Any, options: Mapping[str, Any]) -> Any:
    """The builder's configuration by the options of `--trt`. TF32 is off unless asked for, and the engine can tell of
    its layers. Raises Unsupported for what this version does not have."""
    config = builder.create_builder_config()
    tf32 = api.member(trt, "BuilderFlag", "TF32")
    (config.set_flag if options.get("tf32") else config.clear_flag)(tf32)
    config.profiling_verbosity = getattr(trt.ProfilingVerbosity, _DETAILED)
    for name, (flag, what) in _FLAGS.items():
        if options.get(name):
            config.set_flag(api.required(trt, "BuilderFlag", flag, what))
    if options.get("strip"):  # its weights are given back whole when it is opened
        config.set_flag(api.required(trt, "BuilderFlag", "REFIT", "refitting"))
    if "workspace_bytes" in options:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options["workspace_bytes"])
    if "level" in options:
        if not hasattr(config, "builder_optimization_level"):
            raise api.lacking(trt, "optimisation level", "IBuilderConfig.builder_optimization_level")
        config.builder_optimization_level = options["level"]
    if "hardware" in options:
        level = api.required(trt, "HardwareCompatibilityLevel", _LEVELS[options["hardware"]], "plans for other GPUs")
        config.hardware_compatibility_level = level
    if not options.get("external_tactics", True):
        api.use_own_tactics(trt, config)
    if "dla" in options:
        _use_dla(trt, builder, config, options)
    return config


def _use_dla(trt: Any, builder: Any, config: Any, options: Mapping[str, Any]) -> None:
    if options["dla"] >= builder.num_DLA_cores:
        raise StepError(f"there is no DLA core {options['dla']}", wanted=f"one of {builder.num_DLA_cores} cores")
    config.default_device_type = trt.DeviceType.DLA
    config.DLA_core = options["dla"]
    if options.get("gpu_fallback"):
        config.set_flag(trt.BuilderFlag.GPU_FALLBACK)


def add_profiles(builder: Any, config: Any, network: Any, profiles: Sequence[Profile], values: Profile) -> None:
    """The ranges of free sizes, and of the values of inputs that decide shapes. Raises StepError for a free size that
    no profile tells, which TensorRT could not build."""
    inputs = [network.get_input(index) for index in range(network.num_inputs)]
    free = [one for one in inputs if one.is_shape_tensor or -1 in api.shape_of(one.shape)]
    if values and not profiles:
        profiles = [{}]
    untold = [
        one.name
        for one in free
        if not (one.is_shape_tensor and one.name in values)
        and not all(one.name in profile for profile in profiles or [{}])
    ]
    if untold:
        met = f"the sizes of {', '.join(untold)} are free, and nobody told their range"
        raise StepError(met, mend="--input NAME:1..32x3x224x224 tells it")
    for told in profiles if free else ():
        profile = builder.create_optimization_profile()
        for one in free:
            if one.is_shape_tensor:
                profile.set_shape_input(one.name, *(tuple(ends) for ends in values[one.name]))
            else:
                profile.set_shape(one.name, *(tuple(shape) for shape in told[one.name]))
        if config.add_optimization_profile(profile) < 0:
            raise StepError("TensorRT does not take an optimisation profile", wanted=f"{dict(told)}")


class TimingCache:
    """Timings of kernels that earlier builds measured on this GPU by this driver and version, in one file each.

    A build with them is faster. The engine of a rebuild is another file all the same: what was judged is what ships.
    """

    def __init__(self, trt: Any, driver: Driver) -> None:
        gpu = driver.gpus[0]
        parts = (str(trt.__version__), gpu.name, gpu.compute_capability, driver.version, driver.cuda)
        key = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
        self._path = _home() / "tensorrt" / f"{key}.timing"

    def give(self, config: Any) -> None:
        """Have the build begin with the timings that are known."""
        known = self._path.read_bytes() if self._path.exists() else b""
        if not config.set_timing_cache(config.create_timing_cache(known), False) and known:
            config.set_timing_cache(config.create_timing_cache(b""), False)  # of another version, or damaged

    def keep(self, config: Any) -> None:
        """Write what is known after the build, whole or not at all."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=self._path.parent, delete=False) as file:
            file.write(bytes(config.get_timing_cache().serialize()))
        Path(file.name).replace(self._path)


def _home() -> Path:
    """As dlconv's own cache of steps, without the package that finds the user's folders: this runs in a worker."""
    base = os.environ.get("DLCONV_HOME")
    if base:
        return Path(base).expanduser().resolve() / "cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "dlconv"


def monitor(trt: Any) -> Any:
    """A monitor that writes each phase of the build to the worker's log, and tells how far it has come; None where the
    version has none.

    The build is ended from outside: whoever waits for the worker ends it. TensorRT calls it from threads of its own,
    and phases lie in one another: what is told is the one that went on last.
    """
    if not hasattr(trt, "IProgressMonitor"):
        return None

    class Monitor(trt.IProgressMonitor):
        """What TensorRT tells of its phases. steps: of each that goes on, by its name, how many it has."""

        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.steps: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            """A phase begins."""
            print(f"[TensorRT] {phase_name}: {num_steps} steps", flush=True)  # noqa: T201 - a worker's output is its log
            self.steps[phase_name] = num_steps

        def step_complete(self, phase_name: str, step: int) -> bool:
            """Whether to go on. step: from 0."""
            progress.tell(phase_name, step + 1, self.steps.get(phase_name, step + 1))
            return True

        def phase_finish(self, phase_name: str) -> None:
            """A phase is done."""
            self.steps.pop(phase_name, None)

    return Monitor()
