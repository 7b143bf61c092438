"""Adam's moments from what trainers leave, held against the optimizer that wrote them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
import torch.distributed.checkpoint as dcp
from torch import nn
from torch.distributed.checkpoint.state_dict import get_state_dict

from slicer_core.checkpoints import adam_moments, open_checkpoint
from slicer_core.errors import CheckpointError

pytestmark = pytest.mark.filterwarnings("ignore:torch.distributed is disabled")


def trained(groups: Any, kind: Any = torch.optim.AdamW, **options: Any) -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2))
    optimizer = kind(groups(model), lr=0.1, **options)
    for _ in range(3):
        optimizer.zero_grad()
        model(torch.randn(8, 3)).square().mean().backward()
        optimizer.step()
    return model, optimizer


def all_of(model: nn.Module) -> Any:
    return model.parameters()


def by_dimensions(model: nn.Module) -> Any:
    """As nanoGPT and Hugging Face's Trainer split them."""
    own = list(model.parameters())
    return [{"params": [p for p in own if p.ndim > 1]}, {"params": [p for p in own if p.ndim <= 1], "weight_decay": 0}]


def others_first(model: nn.Module) -> Any:
    return by_dimensions(model)[::-1]


def by_layer(model: nn.Module) -> Any:
    return [{"params": list(layer.parameters())} for layer in model.children()]


def with_names(model: nn.Module) -> Any:
    return list(model.named_parameters())[::-1]


def shapes(model: nn.Module) -> dict[str, torch.Size]:
    return {name: parameter.shape for name, parameter in model.named_parameters()}


def assert_moments(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    found = adam_moments(open_checkpoint(path)[0], shapes(model))
    assert set(found) == set(shapes(model))
    for name, parameter in model.named_parameters():
        state = optimizer.state[parameter]
        assert torch.equal(found[name].exp_avg, state["exp_avg"])
        assert torch.equal(found[name].exp_avg_sq, state["exp_avg_sq"])
        assert (found[name].step, found[name].betas, found[name].eps) == (3, (0.9, 0.999), 1e-8)


@pytest.mark.parametrize("groups", [all_of, by_dimensions, others_first, with_names])
@pytest.mark.parametrize("key", ["optimizer", "optimizer_state_dict", "optimizer_states"])
def test_moments_in_the_file_are_those_of_each_parameter(groups, key, tmp_path) -> None:
    model, optimizer = trained(groups)
    state = optimizer.state_dict()
    torch.save({"model": model.state_dict(), key: [state] if key.endswith("states") else state}, tmp_path / "step-3.pt")
    assert_moments(tmp_path / "step-3.pt", model, optimizer)


@pytest.mark.parametrize("name", ["optimizer.pt", "optimizer.bin"])
def test_moments_beside_the_weights_of_a_folder(name, tmp_path) -> None:
    model, optimizer = trained(by_dimensions)
    folder = tmp_path / "checkpoint-3"
    folder.mkdir()
    safetensors.torch.save_file(model.state_dict(), folder / "model.safetensors")
    torch.save(optimizer.state_dict(), folder / name)
    assert_moments(folder, model, optimizer)


def test_moments_in_a_distributed_folder(tmp_path) -> None:
    model, optimizer = trained(all_of)
    state, optimizer_state = get_state_dict(model, optimizer)
    dcp.save({"model": state, "optimizer": optimizer_state}, checkpoint_id=tmp_path / "step-3", no_dist=True)
    assert_moments(tmp_path / "step-3", model, optimizer)


@pytest.mark.parametrize("by_name", [True, False])
def test_the_settings_of_a_distributed_folder_are_those_of_each_group(by_name, tmp_path) -> None:
    """Their parameters are numbers there where the optimizer's own state was saved."""

    def groups(model: nn.Module) -> Any:
        others, norms = by_dimensions(model)
        return [norms | {"betas": (0.8, 0.95)}, others | {"eps": 1e-3}]

    model, optimizer = trained(groups, amsgrad=True)
    named = get_state_dict(model, optimizer)[1]
    saved = {"model": model.state_dict(), "optimizer": named if by_name else optimizer.state_dict()}
    dcp.save(saved, checkpoint_id=tmp_path / "step-3", no_dist=True)
    found = adam_moments(open_checkpoint(tmp_path / "step-3")[0], shapes(model))
    for name, parameter in model.named_parameters():
        settings = ((0.9, 0.999), 1e-3) if parameter.ndim > 1 else ((0.8, 0.95), 1e-8)
        assert (found[name].betas, found[name].eps) == settings
        assert torch.equal(found[name].exp_avg_sq, optimizer.state[parameter]["max_exp_avg_sq"])


def test_settings_that_are_not_there_are_not_guessed(tmp_path) -> None:
    model, optimizer = trained(all_of)
    saved = {"model": model.state_dict(), "optimizer": {"state": get_state_dict(model, optimizer)[1]["state"]}}
    dcp.save(saved, checkpoint_id=tmp_path / "step-3", no_dist=True)
    checkpoint = open_checkpoint(tmp_path / "step-3")[0]
    with pytest.raises(CheckpointError, match=r"does not say how many updates 0\.weight has had"):
        adam_moments(checkpoint, shapes(model))


def test_amsgrad_divides_by_the_largest_mean(tmp_path) -> None:
    model, optimizer = trained(all_of, amsgrad=True)
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "step-3.pt")
    found = adam_moments(open_checkpoint(tmp_path / "step-3.pt")[0], shapes(model))
    for name, parameter in model.named_parameters():
        assert torch.equal(found[name].exp_avg_sq, optimizer.state[parameter]["max_exp_avg_sq"])


def test_a_parameter_without_a_gradient_has_no_moments(tmp_path) -> None:
    model = nn.ModuleDict({"used": nn.Linear(2, 2, bias=False), "idle": nn.Linear(3, 3, bias=False)})
    optimizer = torch.optim.Adam(model.parameters())
    model["used"](torch.ones(1, 2)).sum().backward()
    optimizer.step()
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "step-1.pt")
    assert set(adam_moments(open_checkpoint(tmp_path / "step-1.pt")[0], shapes(model))) == {"used.weight"}


def refused(tmp_path: Path, saved: dict[str, Any], model: nn.Module, message: str) -> None:
    torch.save({"model": model.state_dict(), **saved}, tmp_path / "step-3.pt")
    with pytest.raises(CheckpointError, match=message):
        adam_moments(open_checkpoint(tmp_path / "step-3.pt")[0], shapes(model))


def test_what_is_not_adams_or_does_not_fit_is_told(tmp_path) -> None:
    model, optimizer = trained(all_of, torch.optim.SGD, momentum=0.9)
    refused(tmp_path, {"optimizer": optimizer.state_dict()}, model, "not the state of an Adam.* it has momentum_buffer")
    refused(tmp_path, {}, model, "has no state of an optimizer: expected it in the file under optimizer")
    refused(tmp_path, {"optimizer": {"lr": 0.1}}, model, "has no state of an optimizer's parameters")
    model, optimizer = trained(all_of)
    state = optimizer.state_dict()
    refused(tmp_path, {"optimizer_states": [state, state]}, model, "states of 2 optimizers, expected one")
    refused(tmp_path, {"optimizer": state}, nn.Linear(3, 4), "state of 6 parameters, the model trains 2")
    backwards = trained(lambda model: list(model.parameters())[::-1])[1].state_dict()
    refused(tmp_path, {"optimizer": backwards}, model, "fits the model's parameters in no known order")


@pytest.mark.parametrize(
    ("kind", "message"), [(torch.optim.NAdam, "beside them it has mu_product"), (torch.optim.RAdam, "are RAdam's")]
)
def test_adams_relatives_make_other_steps(kind, message, tmp_path) -> None:
    model, optimizer = trained(all_of, kind)
    refused(tmp_path, {"optimizer": optimizer.state_dict()}, model, f"{message}.*its step is not Adam's: give --along")


def test_moments_that_are_used_as_they_are_make_other_steps(tmp_path) -> None:
    """As in the AdamW of earlier `transformers`, and in apex."""
    model, optimizer = trained(all_of)
    state = optimizer.state_dict()
    state["param_groups"][0]["correct_bias"] = False
    refused(tmp_path, {"optimizer": state}, model, "does not correct its moments")


def test_groups_in_the_models_order_are_taken_so_where_the_shapes_say_it(tmp_path) -> None:
    model = nn.ParameterDict({name: nn.Parameter(torch.ones(2, 2)) for name in "ab"})
    model["c"] = nn.Parameter(torch.ones(2))
    model["d"] = nn.Parameter(torch.ones(2, 2))
    own = list(model.parameters())
    optimizer = torch.optim.Adam([{"params": own[:2]}, {"params": own[2:]}])
    sum((p.sum() for p in own), torch.zeros(())).backward()
    optimizer.step()
    assert len(optimizer.state) == 4
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "step-1.pt")
    # c is the third one here, and would be the fourth where matrices come first.
    found = adam_moments(open_checkpoint(tmp_path / "step-1.pt")[0], shapes(model))
    assert {name: found[name].exp_avg.shape for name in found} == shapes(model)


def test_groups_that_shapes_do_not_tell_apart_are_refused_unless_names_were_kept(tmp_path) -> None:
    """Weights and biases of one layer beside a norm of its width: `[w, b], [g, c]` is as good as `[w, g], [b, c]`."""
    model, optimizer = trained(by_layer)
    refused(tmp_path, {"optimizer": optimizer.state_dict()}, model, "in 3 groups without their names, and shapes alone")

    def named(model: nn.Module) -> Any:
        return [{"params": list(part.named_parameters(prefix=f"_orig_mod.{name}"))} for name, part in
                model.named_children()]  # fmt: skip

    model, optimizer = trained(named)
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "step-3.pt")
    assert_moments(tmp_path / "step-3.pt", model, optimizer)
    found = adam_moments(open_checkpoint(tmp_path / "step-3.pt")[0], shapes(model))
    assert {moments.matched_by for moments in found.values()} == {"name"}


class Scaled(nn.Module):
    """A vector that decays, of the width of others that do not, as in Mamba."""

    def __init__(self) -> None:
        super().__init__()
        self.proj = nn.Linear(4, 4)
        self.mixer = nn.ParameterDict({"D": torch.ones(4)})
        self.norm_f = nn.LayerNorm(4)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.norm_f(self.proj(features) * self.mixer["D"])


def test_the_groups_of_hugging_faces_trainer_are_known(tmp_path) -> None:
    trainer_module = pytest.importorskip("transformers")
    torch.manual_seed(0)
    model = Scaled()
    arguments = trainer_module.TrainingArguments(output_dir=str(tmp_path), report_to=[], use_cpu=True)
    optimizer = trainer_module.Trainer(model, arguments).create_optimizer()
    for _ in range(3):
        optimizer.zero_grad()
        model(torch.randn(8, 4)).square().sum().backward()
        optimizer.step()
    folder = tmp_path / "checkpoint-3"
    folder.mkdir()
    safetensors.torch.save_file(model.state_dict(), folder / "model.safetensors")
    torch.save(optimizer.state_dict(), folder / "optimizer.pt")
    checkpoint = open_checkpoint(folder)[0]
    with pytest.raises(CheckpointError, match="in 2 groups without their names, and shapes alone do not tell"):
        adam_moments(checkpoint, shapes(model), ["norm_f.weight", "norm_f.bias"])
    (folder / "trainer_state.json").write_text('{"global_step": 3}')
    found = adam_moments(checkpoint, shapes(model), ["norm_f.weight", "norm_f.bias"])
    for name, parameter in model.named_parameters():
        assert torch.equal(found[name].exp_avg, optimizer.state[parameter]["exp_avg"])
        assert found[name].matched_by == "order"


def test_very_many_groups_of_one_shape_end_in_an_error(tmp_path) -> None:
    model = nn.Sequential(*[nn.Linear(1, 1) for _ in range(40)])
    optimizer = torch.optim.Adam([{"params": list(layer.parameters())} for layer in model])
    model(torch.ones(1, 1)).sum().backward()
    optimizer.step()
    refused(tmp_path, {"optimizer": optimizer.state_dict()}, model, "in 40 groups without their names")
