"""The commented `subject.py` that `loss-slicer init` writes, for each kind of checkpoint that it tells apart.

Lines to fill in are marked with `FILL IN`.
"""

from __future__ import annotations

_HEAD = '''"""What Loss Slicer takes slices of: {what}.

`loss-slicer run --checkpoints … --module subject.py` runs this file, and calls build() with what --set gives.
Fill in the lines that are marked. The loss at the center of a slice is your own loss on all of the data, so the data
have to be the same at each reading: no shuffling, no random augmentation.
"""

'''

_PLAIN = (
    _HEAD
    + """from my_project import MyModel  # FILL IN: the class of the network that was trained
from torch import nn

from slicer_core import ModelWrapper


def build() -> ModelWrapper:
    model = MyModel()  # FILL IN: with the arguments of the training
    loss_fn = nn.CrossEntropyLoss()  # FILL IN: any loss of torch.nn, or a function loss(output, target)
    train_data = MyDataset()  # FILL IN: a (X, y) pair of tensors, a Dataset, or a DataLoader with shuffle=False
    # Optional: test_data, and metrics such as {{"accuracy": lambda output, target: output.argmax(1) == target}}.
    return ModelWrapper(model, loss_fn, train_data)
"""
)

_TIMM = (
    _HEAD
    + """import timm
from torch import nn

from slicer_core import ModelWrapper


def build() -> ModelWrapper:
    model = timm.create_model("resnet18", num_classes=10)  # FILL IN: the model and classes of the training
    # Raw or averaged weights are chosen by --weights state_dict or --weights state_dict_ema.
    loss_fn = nn.CrossEntropyLoss()
    train_data = MyDataset()  # FILL IN: a Dataset with the transforms of the evaluation, not those of the training
    return ModelWrapper(model, loss_fn, train_data)
"""
)

_TORCHVISION = (
    _TIMM.replace("import timm", "import torchvision")
    .replace("timm.create_model(", "torchvision.models.get_model(")
    .replace("--weights state_dict or --weights state_dict_ema", "--weights model or --weights model_ema")
)

_NANOGPT = (
    _HEAD
    + '''import numpy as np
import torch

from model import GPT, GPTConfig  # FILL IN: nanoGPT's model.py has to lie beside this file
from slicer_core import LossSum, ModelWrapper

BLOCK_SIZE, VOCAB_SIZE = 256, 65  # FILL IN: as in the training's configuration (model_args in the checkpoint)
NUM_LAYERS, NUM_HEADS, WIDTH, BIAS = 6, 6, 384, False  # FILL IN: likewise
DATA = "data/shakespeare_char/val.bin"  # FILL IN: a file of tokens
NUM_SEQUENCES = 64


def loss(model, batch):
    """The mean over tokens, as sums over sequences."""
    tokens, targets = batch
    logits, _ = model(tokens, targets)
    losses = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
    losses = losses.view(targets.shape)
    return LossSum(losses.sum(dim=1), torch.full((len(losses),), float(losses.shape[1]), device=losses.device))


def build() -> ModelWrapper:
    model = GPT(GPTConfig(block_size=BLOCK_SIZE, vocab_size=VOCAB_SIZE, n_layer=NUM_LAYERS, n_head=NUM_HEADS,
                          n_embd=WIDTH, dropout=0.0, bias=BIAS))
    tokens = torch.from_numpy(np.fromfile(DATA, dtype=np.uint16).astype(np.int64))
    count = min(NUM_SEQUENCES, (len(tokens) - 1) // BLOCK_SIZE)
    inputs = tokens[: count * BLOCK_SIZE].view(count, BLOCK_SIZE)
    targets = tokens[1 : count * BLOCK_SIZE + 1].view(count, BLOCK_SIZE)
    # Batches of 8 sequences.
    data = list(zip(inputs.split(8), targets.split(8), strict=True))
    return ModelWrapper(model, train_data=data, batch_loss=loss)
'''
)

_TRAINER = (
    _HEAD
    + '''import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from slicer_core import LossSum, ModelWrapper

# For a language model and a text, no module is needed:
#     loss-slicer run --checkpoints {path} --hf FOLDER --text FILE
FOLDER = {folder!r}  # FILL IN: a folder with config.json and the tokenizer
TEXTS = ["…"]  # FILL IN: the texts that the loss is taken on


def loss(model, batch):
    """The mean over tokens, as sums over sequences; padding has label -100."""
    logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits[:, :-1].float()
    labels = batch["labels"][:, 1:]
    losses = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none")
    return LossSum(losses.view(labels.shape).sum(dim=1), (labels != -100).sum(dim=1).float())


def build() -> ModelWrapper:
    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(FOLDER, local_files_only=True))
    tokenizer = AutoTokenizer.from_pretrained(FOLDER, local_files_only=True)
    batch = dict(tokenizer(TEXTS, padding=True, truncation=True, return_tensors="pt"))
    batch["labels"] = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
    return ModelWrapper(model, train_data=[batch], batch_loss=loss)
'''
)

_PEFT = (
    _TRAINER.replace("from transformers import", "from peft import PeftModel\nfrom transformers import")
    .replace(
        """# For a language model and a text, no module is needed:
#     loss-slicer run --checkpoints {path} --hf FOLDER --text FILE
FOLDER = {folder!r}  # FILL IN: a folder with config.json and the tokenizer
""",
        """BASE = "…"  # FILL IN: the folder of the base model, whose weights are the same for all checkpoints
ADAPTER = {folder!r}  # one of the checkpoints, for the adapter's configuration
# The adapter's weights come from each checkpoint. Slices in the adapter alone: --params '*lora*'
""",
    )
    .replace(
        """    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(FOLDER, local_files_only=True))
    tokenizer = AutoTokenizer.from_pretrained(FOLDER, local_files_only=True)
""",
        """    base = AutoModelForCausalLM.from_pretrained(BASE, local_files_only=True)
    model = PeftModel.from_pretrained(base, ADAPTER, is_trainable=True)
    tokenizer = AutoTokenizer.from_pretrained(BASE, local_files_only=True)
""",
    )
    .replace("import AutoConfig, AutoModelForCausalLM", "import AutoModelForCausalLM")
)

_LIGHTNING = (
    _HEAD
    + """from my_project import MyDataModule, MyModule  # FILL IN: your LightningModule and LightningDataModule

from slicer_core import ModelWrapper, from_lightning


def build() -> ModelWrapper:
    module = MyModule()  # FILL IN: with the hyperparameters of the training
    # The loss is what training_step returns; step="validation_step" takes the other, and loss_fn=… a loss of your own.
    return from_lightning(module, MyDataModule())
"""
)

TEMPLATES = {
    "plain": ("a network of your own", _PLAIN),
    "trainer": ("a transformers model", _TRAINER),
    "peft": ("a LoRA adapter over its base model", _PEFT),
    "lightning": ("a Lightning module", _LIGHTNING),
    "timm": ("a timm model", _TIMM),
    "torchvision": ("a torchvision model", _TORCHVISION),
    "nanogpt": ("a nanoGPT", _NANOGPT),
}


def subject_source(kind: str, *, path: str, folder: str) -> str:
    """The text of the file; `folder` is where a configuration lies, `path` what the user gave."""
    what, template = TEMPLATES[kind]
    return template.format(what=what, path=path, folder=folder)
