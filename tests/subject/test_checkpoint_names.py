"""The names that wrappers and trainers make: the one way that fits is taken and told, and otherwise all are listed."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from slicer_core.checkpoints import open_checkpoint
from slicer_core.errors import CheckpointError
from slicer_core.parameters import LazyTensors, rows_of
from slicer_core.subject import Fit, fit_names, match_state, other_extra_state

State = dict[str, Tensor]


def net() -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


def fit_of(saved: State, model: nn.Module) -> Fit:
    found = fit_names(saved, model)
    assert isinstance(found, Fit), found.describe()
    return found


def under(prefix: str, state: State) -> State:
    return {prefix + name: tensor for name, tensor in state.items()}


def same_values(found: Any, model: nn.Module) -> bool:
    own = dict([*model.named_parameters(), *model.named_buffers()])
    return found.keys() == own.keys() and all(torch.equal(found[name], own[name]) for name in own)


WRAPPED: dict[str, Callable[[nn.Module], nn.Module]] = {
    "module.": nn.DataParallel,
    "_orig_mod.": torch.compile,
    "module._orig_mod.": lambda model: nn.DataParallel(torch.compile(model)),
}


@pytest.mark.parametrize("prefix", WRAPPED)
def test_what_torchs_wrappers_put_before_the_names_is_stripped(prefix: str) -> None:
    model = net()
    saved = dict(WRAPPED[prefix](copy.deepcopy(model)).state_dict())
    assert all(name.startswith(prefix) for name in saved)
    assert same_values(match_state(saved, model, source="a.pt"), model)


@pytest.mark.parametrize("prefix", WRAPPED)
def test_a_wrapped_model_takes_plain_names(prefix: str) -> None:
    model = net()
    saved = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    wrapped = WRAPPED[prefix](model)
    assert same_values(match_state(saved, wrapped, source="a.pt"), wrapped)


@pytest.mark.parametrize(
    "prefix",
    ["model.", "model.module.", "base_model.model.", "module.model.module._orig_mod.", "_fsdp_wrapped_module.", "odd."],
)
def test_a_prefix_of_all_names_is_stripped_and_told(prefix: str) -> None:
    model = net()
    found = fit_of(under(prefix, dict(model.state_dict())), model)
    told = prefix.replace("_orig_mod.", "").replace("_fsdp_wrapped_module.", "")
    assert found.notes == ((f"`{told}` is stripped from the names",) if told else ())
    assert same_values(match_state(under(prefix, dict(model.state_dict())), model, source="a.pt"), model)


def test_what_is_inserted_within_a_name_is_left_out() -> None:
    model = nn.Sequential(net(), nn.Linear(2, 2))
    inner = {name.replace("0.", "0._fsdp_wrapped_module.", 1): tensor for name, tensor in model.state_dict().items()}
    assert same_values(match_state(inner, model, source="a.pt"), model)


def test_a_prefix_of_the_models_own_is_put_before_the_names() -> None:
    model = nn.ModuleDict({"model": net()})
    plain = dict(model["model"].state_dict())
    assert fit_of(plain, model).notes == ("`model.` is put before the names",)
    assert same_values(match_state(plain, model, source="a.pt"), model)
    assert fit_of(under("module.", plain), model).notes == (
        "`module.` is stripped from the names",
        "`model.` is put before the names",
    )


def test_an_unknown_prefix_is_not_exchanged_for_another() -> None:
    found = fit_names(under("encoder.", dict(net().state_dict())), nn.ModuleDict({"decoder": net()}))
    assert not isinstance(found, Fit)


def test_what_lies_outside_a_known_wrapper_is_left_out_and_told() -> None:
    model = net()
    saved = under("model.", dict(model.state_dict())) | {"criterion.weight": torch.ones(2)}
    assert fit_of(saved, model).notes == (
        "`model.` is stripped from the names",
        "left out are 1 outside `model.`: criterion.weight",
    )
    averaged = torch.optim.swa_utils.AveragedModel(model)
    assert "n_averaged" in fit_of(dict(averaged.state_dict()), model).notes[1]


@pytest.mark.parametrize("second", ["ema_model.", "ema_model.module.", "teacher."])
def test_raw_or_averaged_weights_are_never_guessed(second: str) -> None:
    model = net()
    saved = under("model.", dict(model.state_dict())) | under(second, dict(net().state_dict()))
    with pytest.raises(
        CheckpointError,
        match=rf"fit in 2 ways: those under `model\.`; those under `{second}`\. Say which part is meant",
    ):
        match_state(saved, model, source="a.pt")


def test_a_part_of_another_model_is_not_taken_by_itself() -> None:
    with pytest.raises(CheckpointError, match=r"its names fit in 1 way: those under `2\.`"):
        match_state(dict(net().state_dict()), nn.Linear(4, 2), source="a.pt")


def test_the_diff_is_that_of_the_closest_way() -> None:
    model = net()
    saved = under("module.", dict(model.state_dict()))
    del saved["module.2.bias"]
    saved["module.2.wait"] = torch.ones(1)
    with pytest.raises(CheckpointError) as raised:
        match_state(saved, model, source="a.pt")
    assert str(raised.value) == (
        "a.pt does not fit the model: with those under `module.`; 1 missing from the checkpoint: 2.bias (nearest: "
        "2.wait); 1 not in the model: 2.wait (nearest: 2.bias)"
    )


def test_statistics_have_no_default_but_counters_and_masks_have() -> None:
    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm1d(3)
            self.register_buffer("mask", torch.tril(torch.ones(3, 3)))
            self.register_buffer("positions", torch.arange(3))
            self.register_buffer("codes", torch.zeros(3))

    model = Masked()
    saved = dict(model.state_dict())
    for name in ("mask", "positions", "norm.num_batches_tracked"):
        del saved[name]
    found = fit_of(saved, model)
    assert set(found.from_module) == {"mask", "positions", "norm.num_batches_tracked"}
    assert found.notes[0].startswith("3 with the module's own value, since the checkpoint has none: ")
    matched = match_state(saved, model, source="a.pt")
    assert torch.equal(matched["mask"], model.mask)
    assert matched["mask"] is not model.mask
    for name in ("norm.running_var", "codes"):
        with pytest.raises(CheckpointError, match=f"1 missing from the checkpoint: {name}"):
            match_state({key: tensor for key, tensor in saved.items() if key != name}, model, source="a.pt")


def test_a_saved_copy_of_what_the_model_makes_itself_is_compared_and_left_out() -> None:
    model = nn.Linear(2, 2)
    model.register_buffer("frequencies", torch.tensor([1.0, 0.3]), persistent=False)
    saved = {**model.state_dict(), "frequencies": torch.tensor([1.0, 0.3]).bfloat16()}
    assert "frequencies" in fit_of(saved, model).notes[0]
    assert list(match_state(saved, model, source="a.pt")) == ["weight", "bias"]
    with pytest.raises(CheckpointError, match="other values in frequencies than the model, which makes it itself"):
        match_state({**saved, "frequencies": torch.tensor([1.0, 0.2])}, model, source="a.pt")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float64])
def test_casts_are_told(dtype: torch.dtype) -> None:
    model = nn.Linear(3, 2)
    saved = {name: tensor.to(dtype) for name, tensor in model.state_dict().items()}
    word = str(dtype).removeprefix("torch.")
    assert fit_of(saved, model).notes == (f"2 tensors cast from {word} to float32",)
    found = match_state(saved, model, source="a.pt")
    assert torch.equal(found["weight"], saved["weight"].to(torch.float32))


def test_weight_norm_is_read_in_its_old_form_and_in_its_new_one() -> None:
    with pytest.warns(FutureWarning):
        old = nn.Sequential(nn.utils.weight_norm(nn.Linear(3, 4)), nn.Linear(4, 2))
    new = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(3, 4)), nn.Linear(4, 2))
    new.load_state_dict(dict(old.state_dict()))
    inputs = torch.randn(5, 3)
    for source, target in ((old, new), (new, old)):
        found = fit_of(dict(source.state_dict()), target)
        assert found.notes[0].startswith("2 read under another name: ")
        matched = match_state(dict(source.state_dict()), target, source="a.pt")
        torch.testing.assert_close(torch.func.functional_call(target, dict(matched), (inputs,)), source(inputs))


def test_one_of_two_tensors_that_share_their_memory_will_do() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = nn.Parameter(model[0].weight.data)
    saved = {name: tensor.clone() for name, tensor in model.state_dict().items() if name != "1.weight"}
    assert fit_of(saved, model).notes == ("1 read under another name: 0.weight for 1.weight",)
    assert torch.equal(match_state(saved, model, source="a.pt")["1.weight"], saved["0.weight"])


def test_a_quantized_checkpoint_says_so() -> None:
    saved = {"weight": torch.ones(2, 3, dtype=torch.float8_e4m3fn), "bias": torch.ones(2)}
    with pytest.raises(CheckpointError, match=r"1 not in the model: weight_scale.*is quantized, with scales"):
        match_state(saved | {"weight_scale": torch.ones(1)}, nn.Linear(3, 2), source="a.pt")


def test_what_a_models_library_leaves_out_is_left_out() -> None:
    class Declares(nn.Linear):
        _keys_to_ignore_on_load_unexpected = (r"masked_bias$",)

    model = Declares(3, 2)
    found = fit_of({**model.state_dict(), "masked_bias": torch.ones(1)}, model)
    assert found.notes == ("1 saved copies left out of what the model makes itself: masked_bias",)


class Scaled(nn.Module):
    """A module that saves a number beside its tensors, as it is or as a tensor."""

    def __init__(self, scale: float, *, as_tensor: bool) -> None:
        super().__init__()
        self.inner, self.scale, self.as_tensor = nn.Linear(3, 2), scale, as_tensor

    def get_extra_state(self) -> Any:
        return torch.tensor([self.scale]) if self.as_tensor else {"scale": self.scale, "steps": torch.arange(2)}

    def set_extra_state(self, state: Any) -> None:
        self.scale = state.item() if self.as_tensor else state["scale"]


@pytest.mark.parametrize("as_tensor", [False, True])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_what_modules_save_besides_tensors_has_to_be_the_models_own(
    as_tensor: bool, prefix: str, tmp_path: Any
) -> None:
    scaled = Scaled(2.0, as_tensor=as_tensor)
    model = nn.Sequential(scaled, nn.Linear(2, 2))
    torch.save({"model": under(prefix, model.state_dict()), "step": 5}, tmp_path / "a.pt")
    saved = open_checkpoint(tmp_path / "a.pt")[0]

    assert other_extra_state(saved.contents().extra, model) is None
    assert match_state(saved.read(), model, source="a.pt").keys() == dict(model.named_parameters()).keys()

    scaled.scale = 3.0
    if as_tensor:
        with pytest.raises(CheckpointError, match=r"other values in (module\.)?0\._extra_state than the model"):
            match_state(saved.read(), model, source="a.pt")
    else:
        told = other_extra_state(saved.contents().extra, model)
        assert told is not None
        assert f"{prefix}0._extra_state is {{'scale': 2.0" in told
        assert "the model's is {'scale': 3.0" in told


class Transposed(nn.Module):
    """Saves a square weight transposed."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self._register_state_dict_hook(lambda _module, state, prefix, _: self.turn(state, prefix))
        self._register_load_state_dict_pre_hook(self.turn)

    def turn(self, state: State, prefix: str, *_: Any) -> None:
        state[f"{prefix}layer.weight"] = state[f"{prefix}layer.weight"].t()


class Reordered(nn.Module):
    """Takes rows in another order than they were saved in."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def _load_from_state_dict(self, state_dict: State, prefix: str, *others: Any) -> None:
        state_dict[f"{prefix}layer.weight"] = state_dict[f"{prefix}layer.weight"].flip(0)
        super()._load_from_state_dict(state_dict, prefix, *others)


class Remade(nn.Module):
    """Makes a buffer of a weight once it is loaded."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.register_buffer("mean", self.layer.weight.detach().mean(0), persistent=False)
        self.register_load_state_dict_post_hook(lambda *_: self.make())

    def make(self) -> None:
        self.mean = self.layer.weight.detach().mean(0)


@pytest.mark.parametrize("kind", [Transposed, Reordered, Remade])
def test_what_a_models_own_loading_makes_of_a_checkpoint_is_taken(kind: type[nn.Module]) -> None:
    saved = {f"module.inner.{name}": tensor.clone() for name, tensor in kind().state_dict().items()}
    model = nn.ModuleDict({"inner": kind()})
    before = dict([*model.named_parameters(), *model.named_buffers()])
    values = {name: tensor.detach().clone() for name, tensor in before.items()}
    found = match_state(saved, model, source="a.pt")
    now = dict([*model.named_parameters(), *model.named_buffers()])
    assert all(now[name] is before[name] and torch.equal(now[name], values[name]) for name in before)
    # As the user would load it.
    model.load_state_dict({name.removeprefix("module."): tensor for name, tensor in saved.items()})
    assert same_values(found, model)


def test_a_checkpoint_stays_lazy_where_the_models_own_loading_changes_nothing() -> None:
    class Counted(nn.Linear):
        loads = 0

        def _load_from_state_dict(self, *arguments: Any) -> None:
            self.loads += 1
            super()._load_from_state_dict(*arguments)

    model = Counted(3, 2)
    saved = {name: torch.randn_like(tensor) for name, tensor in model.state_dict().items()}
    lazy = LazyTensors(saved, lambda name, start, stop: rows_of(saved, name, start, stop))
    found = match_state(lazy, model, source="a.pt")
    assert model.loads == 1
    assert isinstance(found, LazyTensors)
    assert torch.equal(found["weight"], saved["weight"])


class Rebuilt(nn.Module):
    """Is another module, with tensors of another kind, once it has loaded."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = nn.Linear(4, 4), nn.Linear(4, 4)
        self.register_load_state_dict_post_hook(lambda *_: self.rebuild())

    def rebuild(self) -> None:
        weight = self.layer.weight.detach()
        self.head.weight.data = self.head.weight.data.double()
        self.layer = nn.Linear(4, 4, bias=False)
        self.layer.weight.copy_(2 * weight)
        self.register_buffer("norm", weight.norm(), persistent=False)


def test_a_model_that_is_rebuilt_as_it_loads_is_what_it_was() -> None:
    model = Rebuilt()
    before, modules = dict([*model.named_parameters(), *model.named_buffers()]), dict(model.named_modules())
    values = {name: tensor.detach().clone() for name, tensor in before.items()}
    saved = {name: torch.randn_like(tensor) for name, tensor in model.state_dict().items()}
    found = match_state(saved, model, source="a.pt")
    assert torch.equal(found["layer.weight"], 2 * saved["layer.weight"])
    now = dict([*model.named_parameters(), *model.named_buffers()])
    assert list(now) == list(before)
    assert all(now[name] is before[name] and torch.equal(now[name], values[name]) for name in before)
    assert model.head.weight.dtype == torch.float32
    assert dict(model.named_modules()) == modules


def test_a_model_whose_own_loading_takes_the_tensors_alone_is_given_them_alone() -> None:
    class Halved(nn.Linear):
        def load_state_dict(self, state: State) -> None:  # type: ignore[override] - as people write it
            super().load_state_dict({name: tensor / 2 for name, tensor in state.items()})

    model = Halved(3, 2)
    saved = {name: torch.randn_like(tensor) for name, tensor in model.state_dict().items()}
    found = match_state(saved, model, source="a.pt")
    assert torch.equal(found["weight"], saved["weight"] / 2)
