"""The compiled kernels: compiled once for a machine, kept in the user's cache, loaded by ctypes."""

import ctypes
import platform
import shutil
import subprocess
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from torch import Tensor

from rnnpipe.files import cache_folder, digest_of, is_own_file, scratch_folder, sha256_tree

FOLDER = Path(__file__).parent
SOURCES = "*.[ch]"
# Not -ffast-math: a training that diverges is noticed by its numbers, which then aren't finite.
FLAGS = ("-std=gnu11", "-O3", "-march=native", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math",
         "-shared", "-fPIC")  # fmt: skip
COMPILERS = ("cc", "gcc", "clang")
TIMEOUT_S = 30


class Shape(ctypes.Structure):
    """The struct of the same name in layout.h."""

    _fields_ = [(name, ctypes.c_long) for name in ("kind", "layers", "rows", "steps", "inputs", "hidden", "keeps")]


class KernelsMissingError(Exception):
    """The kernels can't be had on this machine; says why."""


@cache
def load_library() -> ctypes.CDLL:
    """Return the kernels, compiled at first use; KernelsMissingError where that can't be done."""
    try:
        library = ctypes.CDLL(str(library_path()))
    except OSError as error:
        raise KernelsMissingError(f"they can't be loaded: {error}") from None
    pointer, shape, number = ctypes.c_void_p, ctypes.POINTER(Shape), ctypes.c_long
    arguments = {
        "memory_size": [shape],
        "weights_size": [shape],
        "gradients_size": [shape],
        "pack": [shape, pointer, pointer],
        "unpack": [shape, number, pointer, pointer],
        "forward": [shape, pointer, pointer, number, number, pointer, pointer],
        "backward": [shape, pointer, pointer, pointer, pointer],
    }
    for name, types in arguments.items():
        function = getattr(library, name)
        function.argtypes, function.restype = types, number if name.endswith("_size") else None
    return library


def addresses(tensors: Iterable[Tensor], with_bias: bool) -> "ctypes.Array[ctypes.c_void_p]":
    """Return where tensors begin, four a layer: W_ih, W_hh, b_ih, b_hh, the last two null without bias."""
    found: list[int | None] = [tensor.data_ptr() for tensor in tensors]
    if not with_bias:
        found = [address for pair in zip(found[::2], found[1::2], strict=True) for address in (*pair, None, None)]
    return (ctypes.c_void_p * len(found))(*found)


@cache
def library_path() -> Path:
    """Return the compiled file, made if it isn't there; KernelsMissingError where that can't be done."""
    try:
        folder = cache_folder() / "kernels"
        path = folder / f"recurrent-{_digest()[:16]}.so"
        if not path.exists():
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with scratch_folder(folder) as scratch:  # several processes may do this at once: each file is whole
                _compile(scratch / path.name)
                (scratch / path.name).chmod(0o700)  # whatever the umask lets compilers do
                (scratch / path.name).replace(path)
        is_own = is_own_file(path)
    except OSError as error:
        raise KernelsMissingError(f"{error.filename}: {error.strerror}") from None
    except RuntimeError as error:  # this user has no home
        raise KernelsMissingError(str(error)) from None
    if not is_own:
        raise KernelsMissingError(f"{path} could have been written by somebody else")
    return path


def _digest() -> str:
    """Return the digest of all that the compiled code depends on, but for the compiler."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text(encoding="utf-8").splitlines() if information.exists() else []
    features = next((line for line in lines if line.lower().startswith(("flags", "features"))), "")
    return digest_of([sha256_tree(FOLDER, SOURCES), FLAGS, platform.machine(), features or platform.processor()])


def _compile(path: Path) -> None:
    compiler = next(filter(None, map(shutil.which, COMPILERS)), None)
    if compiler is None:
        raise KernelsMissingError(f"no compiler is there ({', '.join(COMPILERS)})")
    command = [compiler, *FLAGS, str(FOLDER / "recurrent.c"), "-o", str(path)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        raise KernelsMissingError(f"{compiler} took longer than {TIMEOUT_S} s") from None
    if done.returncode:
        reason = (done.stderr.strip() or "it gave no reason").splitlines()[0]
        raise KernelsMissingError(f"{compiler} failed: {reason}")
