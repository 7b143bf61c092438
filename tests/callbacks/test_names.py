"""Which callback is whose."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tensorboard_loss_slicer import callbacks


def test_a_callback_without_a_library_is_told_where_it_is() -> None:
    with pytest.raises(AttributeError, match=r"callbacks\.lightning, .*callbacks\.transformers, by the trainer"):
        callbacks.LossLandscapeCallback  # noqa: B018 (the access is what is tested)


@pytest.mark.parametrize(
    "name, others",
    [
        # What Lightning needs imports transformers where that is installed.
        ("lightning", ["pytorch_lightning"]),
        ("pytorch_lightning", ["lightning"]),
        ("transformers", ["lightning", "pytorch_lightning"]),
    ],
)
def test_only_the_callbacks_own_library_is_needed_and_named_where_it_is_missing(name: str, others: list[str]) -> None:
    code = (
        "import importlib, sys\n"
        "import tensorboard_loss_slicer.callbacks\n"
        "assert 'torch' not in sys.modules\n"
        "for other in {others!r}: sys.modules[other] = None\n"
        "{block}"
        "importlib.import_module('tensorboard_loss_slicer.callbacks.{name}').LossLandscapeCallback\n"
    )

    def run(block: str) -> subprocess.CompletedProcess[str]:
        script = code.format(others=others, block=block, name=name)
        return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)

    there = run("")
    assert there.returncode == 0, there.stderr
    missing = run(f"sys.modules[{name!r}] = None\n")
    assert missing.returncode == 1
    assert f"callbacks.{name} needs {name}, which is not installed: pip install" in missing.stderr
