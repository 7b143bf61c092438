"""Which callback is whose."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from command_process import run_script
from tensorboard_loss_slicer import callbacks


def test_a_callback_without_a_library_is_told_where_it_is() -> None:
    with pytest.raises(AttributeError, match=r"callbacks\.lightning, .*callbacks\.transformers, by the trainer"):
        callbacks.LossLandscapeCallback  # noqa: B018 (the access is what is tested)


def test_their_package_does_not_need_torch() -> None:
    code = "import sys, tensorboard_loss_slicer.callbacks; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    "name, others",
    [
        # What Lightning needs imports transformers where that is installed.
        ("lightning", ["pytorch_lightning"]),
        pytest.param("pytorch_lightning", ["lightning"], marks=pytest.mark.long),
        ("transformers", ["lightning", "pytorch_lightning"]),
    ],
)
def test_only_the_callbacks_own_library_is_needed_and_named_where_it_is_missing(name: str, others: list[str]) -> None:
    code = (
        "import importlib, sys\n"
        "from slicer_core.errors import UsageError\n"
        "def callback():\n"
        f"    return importlib.import_module('tensorboard_loss_slicer.callbacks.{name}').LossLandscapeCallback\n"
        f"for missing in {[*others, name]!r}: sys.modules[missing] = None\n"
        "try: callback()\n"
        "except UsageError as error: print(error)\n"
        f"del sys.modules[{name!r}]\n"
        "assert not any(map(sys.modules.get, ('lightning', 'pytorch_lightning', 'transformers')))\n"
        "callback()\n"
    )
    done = run_script(code, env=os.environ, timeout=300)
    assert done.returncode == 0, done.stderr
    assert f"callbacks.{name} needs {name}, which is not installed: pip install" in done.stdout
