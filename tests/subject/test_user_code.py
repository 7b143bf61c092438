"""What code of the user's raises is told as theirs, unless it is not theirs."""

from __future__ import annotations

import sys

import pytest

from slicer_core.errors import UserCodeError
from slicer_core.subject.user_code import user_code


def test_code_that_ends_the_program_is_told() -> None:
    with (
        pytest.raises(UserCodeError, match="evaluating the loss raised SystemExit: 3"),
        user_code("evaluating the loss"),
    ):
        sys.exit(3)


def test_rays_end_of_a_process_is_not_the_code_that_it_came_upon() -> None:
    raylet = pytest.importorskip("ray._raylet")
    with pytest.raises(SystemExit), user_code("evaluating the loss"):
        raylet.raise_sys_exit_with_custom_error_message("The process receives a SIGTERM.", exit_code=1)
