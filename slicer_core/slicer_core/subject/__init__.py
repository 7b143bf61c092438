"""What slices are taken of: the user's module file, the model wrapper, its data and its losses."""

from slicer_core.subject.classes import find_classes
from slicer_core.subject.data import Batch, SplitData, cast_batch, copied, tensors_fingerprint, written_versions
from slicer_core.subject.extra_state import other_extra_state
from slicer_core.subject.float32 import TF32_RELATIVE
from slicer_core.subject.huggingface import HuggingFaceFolder, find_folder, from_huggingface
from slicer_core.subject.lightning import from_lightning
from slicer_core.subject.loss_check import LossCheck
from slicer_core.subject.losses import LOSS, LossSum, SampleTerms
from slicer_core.subject.matching import match_state, require_fit
from slicer_core.subject.module_file import ModuleFile, find_module, load_subject
from slicer_core.subject.naming import Fit, Mismatch, fit_names
from slicer_core.subject.one_memory import one_memory_note
from slicer_core.subject.own_loading import python_side_of
from slicer_core.subject.python_side import PythonSide
from slicer_core.subject.subset import stratified_order, subset
from slicer_core.subject.transformers_model import from_transformers
from slicer_core.subject.user_code import user_code
from slicer_core.subject.wrapper import SPLITS, ModelWrapper

__all__ = [
    "LOSS",
    "SPLITS",
    "TF32_RELATIVE",
    "Batch",
    "Fit",
    "HuggingFaceFolder",
    "LossCheck",
    "LossSum",
    "Mismatch",
    "ModelWrapper",
    "ModuleFile",
    "PythonSide",
    "SampleTerms",
    "SplitData",
    "cast_batch",
    "copied",
    "find_classes",
    "find_folder",
    "find_module",
    "fit_names",
    "from_huggingface",
    "from_lightning",
    "from_transformers",
    "load_subject",
    "match_state",
    "one_memory_note",
    "other_extra_state",
    "python_side_of",
    "require_fit",
    "stratified_order",
    "subset",
    "tensors_fingerprint",
    "user_code",
    "written_versions",
]
