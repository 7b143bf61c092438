"""Where tasks run: in this process, in processes of this machine, or on a cluster. They know nothing of slices."""

from slicer_core.executors.executor import Executor, Failure
from slicer_core.executors.in_process import InProcess
from slicer_core.executors.processes import Processes

__all__ = ["Executor", "Failure", "InProcess", "Processes"]
