"""A second, plain way to the numbers: no code of the library, float64, one point after another, one batch.

And the built wheel, alone in an environment of its own.
"""

from __future__ import annotations

import copy
import functools
import gc
import hashlib
import importlib.util
import math
import os
import subprocess
import sys
import venv
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from filelock import FileLock
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from torch import Tensor, nn

from slicer_core.evaluate import joining

MASK = 0xFFFFFFFF

# Nothing is tested by time: a busy machine is no reason to fail.
hypothesis_settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis_settings.load_profile("suite")


def pytest_collection_finish() -> None:
    """What is imported by now stays: each look for garbage would go through all of it."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Networks this small gain nothing from a second thread, and wait long for one on a busy machine."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _same_random_numbers() -> None:
    """Each test draws the same data at each run, whichever tests run before it."""
    torch.manual_seed(0)


@pytest.fixture
def small_batches_are_joined() -> bool:
    """Whether batches that are small are put together; tests of what happens from batch to batch need them apart."""
    return False


@pytest.fixture(autouse=True)
def _batches_as_given(small_batches_are_joined: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not small_batches_are_joined:
        monkeypatch.setattr(joining, "_MOST_BYTES", 0)


@pytest.fixture(autouse=True)
def _own_modules(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What a test writes and imports is imported by it alone: names such as `my_project` come again in others."""
    before = set(sys.modules)
    yield
    written = str(tmp_path_factory.getbasetemp())
    for name in set(sys.modules) - before:
        if (getattr(sys.modules[name], "__file__", None) or "").startswith(written):
            del sys.modules[name]


def philox(counter: Sequence[int], key: Sequence[int]) -> list[int]:
    """Philox4x32-10 as in the paper, on Python integers."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        high0, low0 = divmod(0xD2511F53 * c0, 1 << 32)
        high1, low1 = divmod(0xCD9E8D57 * c2, 1 << 32)
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = (k0 + 0x9E3779B9) & MASK, (k1 + 0xBB67AE85) & MASK
    return [c0, c1, c2, c3]


def normals(stream: str, count: int) -> list[float]:
    """The documented stream: Box-Muller on Philox, key and upper counter from SHA-256 of the name."""
    digest = hashlib.sha256(stream.encode()).digest()
    words = [int.from_bytes(digest[start : start + 4], "little") for start in (0, 4, 8, 12)]
    found: list[float] = []
    for block in range(-(-count // 4)):
        bits = philox([block & MASK, block >> 32, words[2], words[3]], words[:2])
        for first, second in (bits[:2], bits[2:]):
            radius = math.sqrt(-2 * math.log((first + 0.5) / 2**32))
            angle = 2 * math.pi * ((second + 0.5) / 2**32)
            found += [radius * math.cos(angle), radius * math.sin(angle)]
    return found[:count]


def raw_direction(state: Mapping[str, Tensor], *, seed: int, axis: int) -> dict[str, Tensor]:
    return {
        name: torch.tensor(normals(f"{seed}/{axis}/{name}", tensor.numel())).float().double().reshape(tensor.shape)
        for name, tensor in state.items()
    }


def filter_normalized(direction: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Li et al.: every slice along dimension 0 gets the norm of that slice of the weights; biases stay."""
    scaled = {}
    for name, tensor in direction.items():
        if tensor.dim() <= 1:
            continue
        weights = state[name].double()
        scaled[name] = torch.stack(
            [part * weights[i].norm() / (part.norm() + 1e-10) for i, part in enumerate(tensor.double())]
        )
    return scaled


def doubled(loss_fn: Any) -> Any:
    """The user's loss with its tensors in float64."""
    if isinstance(loss_fn, nn.Module):
        return copy.deepcopy(loss_fn).double()
    if isinstance(loss_fn, functools.partial):
        keywords = {
            key: value.double() if isinstance(value, Tensor) else value for key, value in loss_fn.keywords.items()
        }
        return functools.partial(loss_fn.func, **keywords)
    return loss_fn


def to_double(value: Any) -> Any:
    return value.double() if isinstance(value, Tensor) and value.is_floating_point() else value


@dataclass(frozen=True)
class Reference:
    """The loss of a network on a whole split in one batch, in float64, at any named tensors."""

    model: nn.Module
    loss_fn: Callable[..., Any]
    data: tuple[Any, ...]

    def losses(self, points: Sequence[Mapping[str, Tensor]]) -> np.ndarray:
        model = copy.deepcopy(self.model).double().eval()
        own = dict([*model.named_parameters(), *model.named_buffers()])
        start = {name: tensor.detach().clone() for name, tensor in own.items()}
        loss_fn = doubled(self.loss_fn)
        *inputs, target = (to_double(tensor) for tensor in self.data)
        found = []
        with torch.no_grad():
            for point in points:
                for name, tensor in own.items():
                    tensor.copy_(point.get(name, start[name]))
                found.append(float(loss_fn(model(*inputs), target)))
        return np.array(found)

    def along(
        self,
        directions: Sequence[Mapping[str, Tensor]],
        coefficients: Sequence[Sequence[float]],
        center: Mapping[str, Tensor] | None = None,
    ) -> np.ndarray:
        """Losses at center + Σ coefficient·direction."""
        start = center or {name: parameter.detach() for name, parameter in self.model.named_parameters()}
        points = []
        for weights in coefficients:
            point = {name: tensor.double() for name, tensor in start.items()}
            for weight, direction in zip(weights, directions, strict=True):
                for name, tensor in direction.items():
                    point[name] = point[name] + weight * tensor.double()
            points.append(point)
        return self.losses(points)


class Residual(nn.Module):
    """Convolution, BatchNorm with running statistics, a skip."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.inner = nn.Conv2d(4, 4, 3, padding=1, groups=2)
        self.head = nn.Linear(4, 3)

    def forward(self, images: Tensor) -> Tensor:
        hidden = torch.relu(self.norm(self.stem(images)))
        return self.head((hidden + self.inner(hidden)).mean(dim=(2, 3)))


class Sentence(nn.Module):
    """Embedding, attention, layer norm; the output layer is the embedding (a tied tensor)."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(7, 8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.norm = nn.LayerNorm(8)
        self.head = nn.Linear(8, 7, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, tokens: Tensor) -> Tensor:
        hidden = self.embed(tokens)
        hidden = self.norm(hidden + self.attention(hidden, hidden, hidden, need_weights=False)[0])
        return self.head(hidden).transpose(1, 2)


class Shared(nn.Module):
    """One module under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(5, 5)
        self.again = self.first
        self.head = nn.Linear(5, 3)

    def forward(self, features: Tensor) -> Tensor:
        return self.head(torch.tanh(self.again(torch.tanh(self.first(features)))))


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(3, 4, batch_first=True)
        self.head = nn.Linear(4, 3)

    def forward(self, series: Tensor) -> Tensor:
        return self.head(self.lstm(series)[0][:, -1])


def weight_normed() -> nn.Module:
    return nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(5, 6)), nn.Tanh(), nn.Linear(6, 3))


def encoder() -> nn.Module:
    layer = nn.TransformerEncoderLayer(8, 2, dim_feedforward=12, batch_first=True, dropout=0.0)
    return nn.Sequential(layer, nn.Flatten(), nn.Linear(32, 3))


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 3))


NUM_SAMPLES = 22

_FEATURES: dict[str, tuple[Callable[[], nn.Module], Callable[[], Tensor]]] = {
    "mlp": (mlp, lambda: torch.randn(NUM_SAMPLES, 5)),
    "convolution": (Residual, lambda: torch.randn(NUM_SAMPLES, 2, 5, 5)),
    "attention": (Sentence, lambda: torch.randint(0, 7, (NUM_SAMPLES, 4))),
    "encoder": (encoder, lambda: torch.randn(NUM_SAMPLES, 4, 8)),
    "weight_norm": (weight_normed, lambda: torch.randn(NUM_SAMPLES, 5)),
    "shared": (Shared, lambda: torch.randn(NUM_SAMPLES, 5)),
    "lstm": (Recurrent, lambda: torch.randn(NUM_SAMPLES, 6, 3)),
}


@dataclass(frozen=True)
class Network:
    """A small network in train mode, with inputs and class targets."""

    model: nn.Module
    inputs: Tensor
    classes: Tensor

    @property
    def data(self) -> tuple[Tensor, Tensor]:
        return self.inputs, self.classes


@pytest.fixture(scope="session")
def network() -> Callable[[str], Network]:
    """Name -> a network, the same at each call. BatchNorm has running statistics that are not the initial ones."""

    def build(name: str) -> Network:
        make, features = _FEATURES[name]
        with torch.random.fork_rng():
            torch.manual_seed(3)
            model, inputs = make(), features()
            for module in model.modules():
                if isinstance(module, nn.BatchNorm2d):
                    assert module.running_mean is not None
                    assert module.running_var is not None
                    nn.init.normal_(module.running_mean, std=0.3)
                    nn.init.uniform_(module.running_var, 0.5, 2.0)
                    nn.init.normal_(module.weight, mean=1.0, std=0.2)
            with torch.no_grad():
                shape = model.eval()(inputs).shape
            classes = torch.randint(0, shape[1], (shape[0], *shape[2:]))
        return Network(model.train(), inputs, classes)

    return build


@pytest.fixture(scope="session")
def reference() -> type[Reference]:
    return Reference


@pytest.fixture(scope="session")
def plain_direction() -> Callable[..., dict[str, Tensor]]:
    """A filter-normalized random direction by the published formulas, float64."""

    def build(state: Mapping[str, Tensor], *, seed: int, axis: int) -> dict[str, Tensor]:
        return filter_normalized(raw_direction(state, seed=seed, axis=axis), state)

    return build


@pytest.fixture(scope="session")
def plain_raw_direction() -> Callable[..., dict[str, Tensor]]:
    return raw_direction


@pytest.fixture(scope="session")
def plain_philox() -> Callable[[Sequence[int], Sequence[int]], list[int]]:
    return philox


@pytest.fixture(scope="session")
def close_to_float64() -> Callable[[np.ndarray, np.ndarray], None]:
    """The tolerance of float32 evaluation: |L - L64| <= 2e-5·|L64| + 1e-6."""

    def check(found: np.ndarray, expected: np.ndarray) -> None:
        np.testing.assert_allclose(found, expected, rtol=2e-5, atol=1e-6)

    return check


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the working tree; its build makes the page where it is missing or stale."""
    repository = Path(__file__).parent.parent

    def build(folder: Path) -> None:
        command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
        subprocess.run(command, cwd=repository, check=True, capture_output=True)

    (built,) = _made_once(tmp_path_factory, "wheel", build).glob("*.whl")
    return built


def _made_once(tmp_path_factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """A folder that one of the processes of the tests fills, for all of them to read."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / name
    with FileLock(f"{folder}.lock"):
        done = folder.with_suffix(".done")
        if not done.exists():
            folder.mkdir()
            make(folder)
            done.touch()
    return folder


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], None]], Path]:
    """The function above: a folder by its name, and what fills it."""
    return functools.partial(_made_once, tmp_path_factory)


@pytest.fixture(scope="session")
def wheel_python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Python of a fresh environment in which the wheel is installed, and of ours only what it depends on."""

    def install(home: Path) -> None:
        # Our pip installs there: one of its own would have to be installed first.
        venv.create(home, with_pip=False)
        pip = [sys.executable, "-m", "pip", "--python", str(home / "bin" / "python")]
        subprocess.run([*pip, "install", "--quiet", "--no-deps", str(wheel)], check=True)
        (site_packages,) = home.glob("lib/python*/site-packages")
        # A path alone: the editable install of the working tree is a .pth file there, which is not followed from here.
        found = importlib.util.find_spec("tensorboard")
        assert found is not None
        assert found.origin is not None
        (site_packages / "dependencies.pth").write_text(f"{Path(found.origin).parent.parent}\n")

    return _made_once(tmp_path_factory, "fresh", install) / "bin" / "python"
