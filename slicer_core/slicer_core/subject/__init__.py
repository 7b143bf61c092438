"""What slices are taken of: the user's module file, the model wrapper, its data and its losses."""

from slicer_core.subject.data import Batch, SplitData, copied, written_versions
from slicer_core.subject.losses import LossSum, SampleTerms
from slicer_core.subject.matching import compare_names, match_state
from slicer_core.subject.module_file import ModuleFile, find_module, load_subject
from slicer_core.subject.subset import stratified_order, subset
from slicer_core.subject.wrapper import LOSS, SPLITS, ModelWrapper, cast_batch, user_code

__all__ = [
    "LOSS",
    "SPLITS",
    "Batch",
    "LossSum",
    "ModelWrapper",
    "ModuleFile",
    "SampleTerms",
    "SplitData",
    "cast_batch",
    "compare_names",
    "copied",
    "find_module",
    "load_subject",
    "match_state",
    "stratified_order",
    "subset",
    "user_code",
    "written_versions",
]
