"""Lightning's own `Trainer` writes the checkpoints; the center is the loss that its module returns."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, SubsetRandomSampler, TensorDataset, WeightedRandomSampler

from slicer_core import ModelWrapper, from_lightning
from slicer_core.errors import DataError, ModuleError

SUBJECT = """
import {library} as L
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
import torchmetrics

from slicer_core import from_lightning


class Data(L.LightningDataModule):
    def setup(self, stage):
        generator = torch.Generator().manual_seed(5)
        inputs = torch.randn(26, 4, generator=generator)
        self.data = TensorDataset(inputs, (inputs.sum(dim=1) > 0).long())

    def train_dataloader(self):
        return DataLoader(self.data, batch_size=8, shuffle=True, drop_last=True)

    def val_dataloader(self):
        return DataLoader(torch.utils.data.Subset(self.data, range(5)), batch_size=4)


class Net(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 2))
        self.accuracy = torchmetrics.classification.MulticlassAccuracy(2)

    def forward(self, inputs):
        return self.model(inputs)

    def training_step(self, batch, batch_idx):
        inputs, target = batch
        output = self(inputs)
        loss = nn.functional.cross_entropy(output, target)
        self.accuracy.update(output, target)
        self.log("loss", loss, prog_bar=True)
        self.log_dict({{"accuracy": self.accuracy}})
        return {{"loss": loss, "output": output}}

    def validation_step(self, batch):
        return nn.functional.cross_entropy(self(batch[0]), batch[1], label_smoothing=0.5)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def build(step="training_step"):
    return from_lightning(Net(), Data(), step=step)


def build_plain():
    return from_lightning(Net(), Data(), loss_fn=nn.CrossEntropyLoss())
"""


@pytest.fixture(scope="module", params=["lightning", "pytorch_lightning"])
def training(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A run of each library: its checkpoints, the file of its module, and that file's names."""
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "subject.py").write_text(SUBJECT.format(library=request.param))
    names: dict[str, Any] = {"__name__": "subject"}
    exec(compile((folder / "subject.py").read_text(), "subject.py", "exec"), names)
    library = importlib.import_module(request.param)
    home = {"lightning": "lightning.pytorch"}.get(request.param, request.param)
    callbacks = importlib.import_module(f"{home}.callbacks")
    torch.manual_seed(2)
    keep = callbacks.ModelCheckpoint(dirpath=folder / "checkpoints", save_top_k=-1, every_n_epochs=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        library.Trainer(
            max_epochs=2,
            accelerator="cpu",
            callbacks=[keep],
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
        ).fit(names["Net"](), names["Data"]())
    return SimpleNamespace(folder=folder, names=names, checkpoints=folder / "checkpoints")


def library_loss(training: SimpleNamespace, file: Path, split: str = "train", **options: Any) -> float:
    net = training.names["Net"].load_from_checkpoint(file).eval()
    data = training.names["Data"]()
    data.setup("fit")
    inputs, target = (data.data if split == "train" else torch.utils.data.Subset(data.data, range(5)))[:26]
    with torch.no_grad():
        return nn.functional.cross_entropy(net(inputs), target, **options).item()


def test_the_center_is_the_loss_of_the_modules_own_step(
    training: SimpleNamespace, sliced: Callable[..., list[Any]], inspected: Callable[..., list[Any]]
) -> None:
    files = sorted(training.checkpoints.iterdir())
    assert [file.name for file in files] == ["epoch=0-step=3.ckpt", "epoch=1-step=6.ckpt"]
    module = str(training.folder / "subject.py")
    entries = inspected(training.checkpoints, "--module", module)
    assert [(entry["step"], entry["step_unit"], entry["match"]) for entry in entries] == [
        (3, "step", "fits"),
        (6, "step", "fits"),
    ]
    for build, options, settings in (
        ("build", {}, {}),
        ("build_plain", {}, {}),
        ("build", {"label_smoothing": 0.5}, {"step": "validation_step"}),
    ):
        slices = sliced(
            checkpoints=str(training.checkpoints), module=f"{module}:{build}", set=settings, split="both", fresh=True
        )
        for finished, file in zip(slices, files, strict=True):
            center = finished.data.center.loss
            assert center["train"] == pytest.approx(library_loss(training, file, **options), rel=1e-6)
            assert center["test"] == pytest.approx(library_loss(training, file, "test", **options), rel=1e-6)


def test_the_network_alone_takes_its_part_of_the_checkpoint(
    training: SimpleNamespace, sliced: Callable[..., list[Any]], write_module: Callable[[str], str]
) -> None:
    module = write_module(
        f"import sys; sys.path.insert(0, {str(training.folder)!r})\n"
        + SUBJECT.format(library=training.checkpoints.parent.name.rstrip("0123456789"))
        + "\ndef build():\n    from slicer_core import ModelWrapper\n    data = Data()\n    data.setup('fit')\n"
        "    return ModelWrapper(Net().model, nn.CrossEntropyLoss(), data.data)\n"
    )
    for finished in sliced(checkpoints=str(training.checkpoints), module=module):
        file = training.checkpoints / Path(finished.data.checkpoint["path"]).name
        assert finished.data.center.loss["train"] == pytest.approx(library_loss(training, file), rel=1e-6)
        assert finished.data.checkpoint["notes"] == ["`model.` is stripped from the names"]


class Bare(nn.Module):
    """What is asked of a Lightning module, without the library."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 1)
        self.loss: Callable[[Tensor], Any] = lambda output: output.square().mean()

    def log(self, name: str, value: Tensor) -> None:
        raise RuntimeError("there is no trainer")

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        loss = self.loss(self.layer(batch[0]))
        self.log("loss", loss)
        return loss


def first_only(self: Any, batch: Any) -> Any:
    return self.layer(batch[0]).square().mean()


def other_name(self: Any, batch: Any, i: int) -> Any:
    return self.layer(batch[0]).square().mean() + i


def by_default(self: Any, batch: Any, _: int = 5, dataloader_idx: int = 7) -> Any:
    return self.layer(batch[0]).square().mean() + _ + dataloader_idx


def loaders_index(self: Any, batch: Any, dataloader_idx: int) -> Any:
    return self.layer(batch[0]).square().mean() + dataloader_idx


def any_of_them(self: Any, *arguments: Any) -> Any:
    batch, index = arguments
    return self.layer(batch[0]).square().mean() + index


def by_keyword(self: Any, batch: Any, *, batch_idx: int) -> Any:
    return self.layer(batch[0]).square().mean() + batch_idx


@pytest.mark.parametrize("step", [first_only, other_name, by_default, loaders_index, any_of_them, by_keyword])
def test_a_step_gets_the_batchs_index_under_whatever_name_it_has(step: Any) -> None:
    module = type("Own", (Bare,), {"training_step": step})()
    samples = data()
    expected = module.layer(samples.tensors[0]).square().mean().item()
    assert center(from_lightning(module, train_data=samples)) == pytest.approx(expected, rel=1e-6)


def data(count: int = 10) -> TensorDataset:
    return TensorDataset(torch.randn(count, 3))


def center(wrapper: ModelWrapper) -> float:
    split = wrapper.split("train")
    with wrapper.evaluating():
        terms = [wrapper.sample_terms(batch)["loss"] for batch in split.batches()]
    return (sum(term.sums.sum() for term in terms) / sum(term.counts.sum() for term in terms)).item()


@pytest.mark.parametrize(
    "loader",
    [
        lambda samples: DataLoader(samples, batch_size=4, shuffle=True, drop_last=True),
        lambda samples: DataLoader(samples, batch_size=4, sampler=SubsetRandomSampler(range(len(samples)))),
        lambda samples: samples,
    ],
)
def test_shuffled_loaders_are_read_in_order_and_whole(loader: Callable[[Any], Any]) -> None:
    module, samples = Bare(), data()
    wrapper = from_lightning(module, train_data=loader(samples))
    assert center(wrapper) == pytest.approx(module.layer(samples.tensors[0]).square().mean().item(), rel=1e-6)
    assert "log" not in vars(module)


def test_a_part_of_the_data_stays_that_part() -> None:
    module, samples = Bare(), data()
    wrapper = from_lightning(module, train_data=DataLoader(samples, sampler=SubsetRandomSampler([1, 4, 7])))
    expected = module.layer(samples.tensors[0][[1, 4, 7]]).square().mean().item()
    assert center(wrapper) == pytest.approx(expected, rel=1e-6)
    drawn = DataLoader(samples, sampler=WeightedRandomSampler([1.0] * 10, 10))
    with pytest.raises(DataError, match="differs from one reading to the next"):
        from_lightning(module, train_data=drawn).split("train")


def test_what_can_not_be_a_loss_is_told() -> None:
    module = Bare()
    with pytest.raises(ModuleError, match="has no 'validation_step': give step one of"):
        from_lightning(module, train_data=data(), step="validation_step")
    with pytest.raises(ModuleError, match="gives no data"):
        from_lightning(module)
    module.loss = lambda output: None
    with pytest.raises(ModuleError, match="returned NoneType without a loss"):
        center(from_lightning(module, train_data=data()))
    module.automatic_optimization = False
    with pytest.raises(ModuleError, match="optimizes by hand"):
        from_lightning(module, train_data=data())
