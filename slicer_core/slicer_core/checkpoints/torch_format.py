"""Files of `torch.save`: a state dict, or one under the usual keys. `weights_only=True` reads them and runs nothing."""

from __future__ import annotations

import pickle
import pickletools
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slicer_core.checkpoints.checkpoint import MAX_STEP_DIGITS, CheckpointFormat, Contents, StepUnit, TensorInfo
from slicer_core.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor

_ZIP = b"PK\x03\x04"
_PICKLE = b"\x80"
_GLOBAL = re.compile(r"GLOBAL (\S{1,100})")
_ADVICE = re.compile(r"weights_only|safe_globals|can still be loaded", re.IGNORECASE)
_NESTED_KEYS = ("state_dict", "model_state_dict", "model")
# A dictionary in a pickle may hold itself.
_MAX_DEPTH = 3
_STEP_KEYS: tuple[tuple[str, StepUnit], ...] = (
    ("global_step", "step"),
    ("step", "step"),
    ("iter_num", "step"),
    ("iteration", "step"),
    ("epoch", "epoch"),
)


def _recognizes(path: Path, first_bytes: bytes) -> bool:
    return first_bytes.startswith((_ZIP, _PICKLE))


def _contents(path: Path) -> Contents:
    loaded = _load(path, map_location="meta")
    state = _state_dict(loaded, path)
    tensors = {
        name: TensorInfo(
            shape=tuple(tensor.shape),
            dtype=str(tensor.dtype).removeprefix("torch."),
            num_bytes=tensor.numel() * tensor.element_size(),
        )
        for name, tensor in state.items()
    }
    step, unit = _step(loaded) if isinstance(loaded, Mapping) else (None, "step")
    return Contents(tensors=tensors, step=step, step_unit=unit)


def _read(path: Path) -> dict[str, Tensor]:
    _check_zip(path)
    return _state_dict(_load(path, map_location="cpu"), path)


def _load(path: Path, *, map_location: str) -> Any:
    import torch

    try:
        return torch.load(path, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(_refusal(path, error)) from error
    except Exception as error:
        raise CheckpointError(f"{path} can't be read as a torch file: {_reason(error)}") from error


def _refusal(path: Path, error: Exception) -> str:
    """What torch refused, without its advice to load the file unsafely."""
    named = _refused_globals(path, error)
    if named:
        return (
            f"{path} holds more than tensors ({', '.join(named[:5])}), and reading those runs code, so it is "
            "not read: save model.state_dict() with torch.save or safetensors"
        )
    return f"{path} is not a torch file of tensors: {_reason(error)}"


def _refused_globals(path: Path, error: Exception) -> list[str]:
    """The names that the file would have imported; of an old file, the first that was refused, or what it lists."""
    import torch

    try:
        named = sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path))
    except Exception:  # noqa: BLE001 - the file is hostile or broken; any failure here only means no names to show
        named = []
    return [name[:100] for name in named] or _GLOBAL.findall(str(error))[:1] or _pickled_globals(path)


def _pickled_globals(path: Path) -> list[str]:
    """What a plain pickle names, read without running it: torch's reader knows old protocols only."""
    named: set[str] = set()
    texts = [""]
    try:
        with path.open("rb") as file:
            for opcode, argument, _ in pickletools.genops(file):
                if opcode.name == "GLOBAL":
                    named.add(str(argument).replace(" ", "."))
                elif opcode.name == "STACK_GLOBAL":
                    named.add(".".join(texts[-2:]))
                elif isinstance(argument, str):
                    texts = [texts[-1], argument]
    except Exception:  # noqa: BLE001 - as above; what was named so far is shown
        pass
    return sorted(name[:100] for name in named if not name.startswith(("torch.", "collections.")))


def _reason(error: Exception) -> str:
    """Torch's reason in one line. Its advice to switch the safe reader off comes before it or after it."""
    text = str(error).rpartition("WeightsUnpickler error:")[2].strip()
    line = text.splitlines()[0][:200] if text else type(error).__name__
    return "it holds code, or more than tensors" if _ADVICE.search(line) else line


def _check_zip(path: Path) -> None:
    """A flipped byte inside a zip file loads without an error; its checksum tells."""
    try:
        if not zipfile.is_zipfile(path):
            return
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
    except Exception as error:
        # A damaged directory of the archive may end in any exception of its reader.
        raise CheckpointError(f"{path} is damaged: {error}") from error
    if broken is not None:
        raise CheckpointError(f"{path} is damaged: the checksum of {broken} does not fit")


def _state_dict(loaded: Any, path: Path, depth: int = 0) -> dict[str, Tensor]:
    from torch import Tensor

    if isinstance(loaded, Mapping) and depth <= _MAX_DEPTH:
        tensors = {str(name): value for name, value in loaded.items() if isinstance(value, Tensor)}
        if tensors and len(tensors) == len(loaded):
            return tensors
        nested = [key for key in _NESTED_KEYS if isinstance(loaded.get(key), Mapping)]
        if len(nested) == 1:
            return _state_dict(loaded[nested[0]], path, depth + 1)
        if len(nested) > 1:
            raise CheckpointError(f"{path} has state dicts under {' and '.join(nested)}; which one is meant is unclear")
        raise CheckpointError(
            f"{path} is not a state dict: its entries are {_listed(loaded) or 'none'}; expected "
            f"tensors, or a state dict under {', '.join(_NESTED_KEYS)}"
        )
    raise CheckpointError(f"{path} holds a {type(loaded).__name__}, expected a state dict")


def _listed(loaded: Mapping[Any, Any]) -> str:
    return ", ".join(str(key)[:100] for key in list(loaded)[:6])


def _step(loaded: Mapping[Any, Any]) -> tuple[int | None, StepUnit]:
    for key, unit in _STEP_KEYS:
        value = loaded.get(key)
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**MAX_STEP_DIGITS:
            return value, unit
    return None, "step"


TORCH = CheckpointFormat(
    name="torch",
    suffixes=(".pt", ".pth", ".bin", ".ckpt"),
    recognizes=_recognizes,
    contents=_contents,
    read=_read,
    # Such a file may be compressed or an old pickle, so that its tensors come all at once.
    open=_read,
)
