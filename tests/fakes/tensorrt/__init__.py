"""A TensorRT that is none, of the generation that FAKE_TENSORRT names: 8.5, 8.6, 10.16, 11.0 or 11.4.

It has the real one's names and no others, computes by ONNX Runtime, and refuses what the real one refuses: a network
without EXPLICIT_BATCH on 8, a flag that is gone on 11, a plan of another version. It shows that calls are right, and
nothing of what TensorRT computes.
"""

from __future__ import annotations

from tensorrt import _build, _names, _run

__version__ = _names.VERSION
for _name in _names.FACTS["enums"]:
    if (_found := _names.enum(_name)) is not None:
        globals()[_name] = _found
for _name in ("Builder", "ILogger", "IOutputAllocator", "IProgressMonitor", "OnnxParser", "OnnxParserRefitter"):
    if _names.has_class(_name):
        globals()[_name] = getattr(_build, _name, None) or getattr(_run, _name)
Refitter, Runtime = _run.Refitter, _run.Runtime
init_libnvinfer_plugins = _run.init_libnvinfer_plugins
