"""Builds the device of `own_memory.cpp` and makes it known to torch, as `own`, for the rest of the process."""

from __future__ import annotations

import subprocess
import types
from pathlib import Path
from typing import Any

import torch
from torch.utils import cpp_extension

NAME = "own"


def build(folder: Path) -> Path:
    """The compiled library, in `folder`; takes about half a minute.

    Raises:
        CalledProcessError: the compiler failed, and has said why.
    """
    library = folder / "own_memory.so"
    includes = [f"-I{path}" for path in cpp_extension.include_paths()]
    links = [f"-L{path}" for path in cpp_extension.library_paths()] + ["-ltorch", "-ltorch_cpu", "-lc10"]
    source = str(Path(__file__).with_name("own_memory.cpp"))
    subprocess.run(
        ["c++", "-std=c++20", "-O1", "-shared", "-fPIC", *includes, source, "-o", library, *links], check=True
    )
    return library


def load(library: Path) -> None:
    """The library's device can be used as any other of torch's."""
    torch.ops.load_library(library)
    torch.utils.rename_privateuse1_backend(NAME)
    module: Any = types.ModuleType(f"torch.{NAME}")
    module.is_available = module.is_initialized = lambda: True
    module.device_count = lambda: 1
    module.current_device = lambda: 0
    module.get_amp_supported_dtype = lambda: [torch.bfloat16, torch.float16]
    torch._register_device_module(NAME, module)
    # A module keeps its parameters as it is moved there, which is so on a GPU: those that are tied stay tied.
    torch.__future__.set_swap_module_params_on_conversion(True)
