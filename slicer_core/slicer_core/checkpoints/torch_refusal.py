"""What to say of a file that torch's safe reader refuses: the globals in it, and never how to load it unsafely."""

from __future__ import annotations

import pickletools
import re
from pathlib import Path

_GLOBAL = re.compile(r"GLOBAL (\S{1,100})")
_ADVICE = re.compile(r"weights_only|safe_globals|can still be loaded", re.IGNORECASE)


def refusal(path: Path, error: Exception) -> str:
    """What torch refused, without its advice to load the file unsafely."""
    named = _refused_globals(path, error)
    if named:
        return (
            f"{path} holds more than tensors ({', '.join(named[:5])}), and reading those runs code, so it is "
            "not read: save model.state_dict() with torch.save or safetensors"
        )
    return f"{path} is not a torch file of tensors: {reason(error)}"


def named_global(error: BaseException) -> str | None:
    """The global that a message of torch's reader names, with which it refused a file."""
    named = _GLOBAL.search(str(error))
    return named[1] if named else None


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


def reason(error: BaseException) -> str:
    """Torch's reason in one line. Its advice to switch the safe reader off comes before it or after it."""
    text = str(error).rpartition("WeightsUnpickler error:")[2].strip()
    line = text.splitlines()[0][:200] if text else type(error).__name__
    return "it holds code, or more than tensors" if _ADVICE.search(line) else line
