"""Extensions of x86-64 CPUs that low precisions are computed by, proved by running an instruction of each.

That the system lists an extension does not say that it may be used: a virtual machine may list what it does not pass
on, and a kernel may refuse the registers of AMX. An instruction that the CPU does not know ends the process by a
signal, so this is asked in a worker.
"""

from __future__ import annotations

import ctypes
import mmap
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from dlconv.errors import HardwareMissing, MachineError

_CPUINFO: Final = Path("/proc/cpuinfo")
_ARCH_PRCTL, _REQUEST, _TILE_DATA = 158, 0x1023, 18  # linux: syscall, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
_TILE_BYTES: Final = 1024
_ELSEWHERE: Final = "use a machine with a CPU that has it; without it the same models run, by slower instructions"


@dataclass(frozen=True)
class Extension:
    """flags: what /proc/cpuinfo calls it. code: a function of (a, b, out, tile shapes) that multiplies and adds; left
    and right fill a and b, answer is the first word of out. `width` bytes of out are written.
    """

    flags: tuple[str, ...]
    code: bytes
    left: bytes
    right: bytes
    answer: int
    width: int
    needs_tiles: bool = False


_ONES, _TWOS = b"\x01", b"\x02"
_BF16_ONE, _BF16_TWO = b"\x80\x3f", b"\x00\x40"
_FOUR: Final = 0x40800000  # 1 x 2 + 1 x 2 as a float32

EXTENSIONS: Final = {
    # vmovdqu ymm1,[rdi]; vmovdqu ymm2,[rsi]; vpmaddwd ymm0,ymm1,ymm2; vmovdqu [rdx],ymm0; vzeroupper; ret
    "avx2": Extension(
        ("avx2",), bytes.fromhex("c5fe6f0fc5fe6f16c5f5f5c2c5fe7f02c5f877c3"), _ONES, _TWOS, 2 * 257 * 514, 32
    ),
    # the same with vpxor ymm0,ymm0,ymm0; vpdpbusd ymm0,ymm1,ymm2
    "avx-vnni": Extension(
        ("avx_vnni",), bytes.fromhex("c5fe6f0fc5fe6f16c5fdefc0c4e27550c2c5fe7f02c5f877c3"), _ONES, _TWOS, 8, 32
    ),
    # vmovdqu64 zmm1,[rdi]; vmovdqu64 zmm2,[rsi]; vpxorq zmm0,zmm0,zmm0; vpdpbusd zmm0,zmm1,zmm2;
    # vmovdqu64 [rdx],zmm0; vzeroupper; ret
    "avx512-vnni": Extension(
        ("avx512f", "avx512_vnni"),
        bytes.fromhex("62f1fe486f0f62f1fe486f1662f1fd48efc062f2754850c262f1fe487f02c5f877c3"),
        _ONES,
        _TWOS,
        8,
        64,
    ),
    # the same with vdpbf16ps zmm0,zmm1,zmm2
    "avx512-bf16": Extension(
        ("avx512f", "avx512_bf16"),
        bytes.fromhex("62f1fe486f0f62f1fe486f1662f1fd48efc062f2764852c262f1fe487f02c5f877c3"),
        _BF16_ONE,
        _BF16_TWO,
        _FOUR,
        64,
    ),
    # ldtilecfg [rcx]; mov eax,64; tilezero tmm0; tileloadd tmm1,[rdi+rax]; tileloadd tmm2,[rsi+rax];
    # tdpbssd tmm0,tmm1,tmm2; tilestored [rdx+rax],tmm0; tilerelease; ret
    "amx": Extension(
        ("amx_tile", "amx_int8", "amx_bf16"),
        bytes.fromhex("c4e2784901b840000000c4e27b49c0c4e27b4b0c07c4e27b4b1406c4e26b5ec1c4e27a4b0402c4e27849c0c3"),
        _ONES,
        _TWOS,
        64 * 2,
        _TILE_BYTES,
        needs_tiles=True,
    ),
}
"""By the name that `dlconv doctor` shows."""


def cpuinfo(key: str) -> str:
    """What the system says of the first CPU under a key of /proc/cpuinfo; "" where it does not."""
    if not _CPUINFO.exists():
        return ""
    lines = _CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == key), "")


def probe(name: str) -> dict[str, Any]:
    """{"version", "devices"}: the CPU, and the flags of an extension that has just answered rightly.

    Raises HardwareMissing where the CPU does not have it, MachineError where it answers wrongly or may not be used.
    """
    extension, cpu = EXTENSIONS[name], cpuinfo("model name") or platform.processor() or platform.machine()
    lacking = sorted(set(extension.flags) - set(cpuinfo("flags").split()))
    if platform.machine().lower() not in ("x86_64", "amd64") or lacking:
        met = f"{cpu} does not list {', '.join(lacking or extension.flags)}"
        raise HardwareMissing(met, wanted=f"a CPU with {name}", mend=_ELSEWHERE)
    if extension.needs_tiles and ctypes.CDLL(None).syscall(_ARCH_PRCTL, _REQUEST, _TILE_DATA):
        met = f"{cpu} lists {name}, and the kernel does not give its registers"
        raise MachineError(met, wanted="Linux 5.16 or newer, on a machine that passes AMX on", mend=_ELSEWHERE)
    found = _run(extension)
    if found != extension.answer:
        raise MachineError(f"{name} of {cpu} answers {found}", wanted=str(extension.answer), mend=_ELSEWHERE)
    return {"version": cpu, "devices": list(extension.flags)}


def _run(extension: Extension) -> int:
    left = ctypes.create_string_buffer(extension.left * (_TILE_BYTES // len(extension.left)), _TILE_BYTES)
    right = ctypes.create_string_buffer(extension.right * (_TILE_BYTES // len(extension.right)), _TILE_BYTES)
    out = ctypes.create_string_buffer(_TILE_BYTES)
    try:
        page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    except OSError as error:
        met = f"the system lets no process run what it wrote itself, so nothing is proved ({error})"
        raise MachineError(met, mend="allow it, or leave this unproved: runtimes ask the CPU themselves") from error
    page.write(extension.code)
    start = ctypes.c_char.from_buffer(page)
    run = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 4)(ctypes.addressof(start))
    shapes = ctypes.create_string_buffer(_tile_shapes(), 64)  # has to live until the call is done
    run(*map(ctypes.addressof, (left, right, out, shapes)))
    del run, start
    page.close()
    words = {int.from_bytes(out.raw[at : at + 4], "little") for at in range(0, extension.width, 4)}
    return words.pop() if len(words) == 1 else -1


def _tile_shapes() -> bytes:
    """AMX' configuration: palette 1, tiles 0 to 2 of 16 rows of 64 bytes."""
    return bytes([1, *[0] * 15, *[64, 0] * 3, *[0] * 26, *[16] * 3, *[0] * 13])
