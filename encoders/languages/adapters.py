"""MAD-X: a few parameters for one language beside a frozen model (Pfeiffer et al., 2020).

A language adapter is a bottleneck behind every block, ``h + U relu(D h)``, and an invertible
adapter on the word embeddings, whose inverse stands before the output matrix. Both begin as the
identity.

Forward hooks put them into any model whose blocks :func:`encoders.layers.find_blocks` finds, so the
adapter acts as a part of the block. This places the bottleneck behind the block's last layer norm,
where the paper has one more norm after it. The library ``adapters`` is not used: 1.3.0 pins an
older ``transformers``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn
from torch.utils.hooks import RemovableHandle

from bitext.bounds import Size
from bitext.errors import InputError, MismatchError
from bitext.text import atomic_write
from encoders.layers import find_blocks

SETTINGS_FILE = "adapter.json"
WEIGHTS_FILE = "adapter.safetensors"


class AdapterSettings(BaseModel):
    """The sizes of a language adapter; the defaults are the paper's."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    language: str = ""  # for people
    reduction: Size = 2  # a bottleneck is the model's dim divided by this
    invertible: bool = True
    invertible_reduction: Size = 2  # the same for each half of the embedding


class Bottleneck(nn.Module):
    """``U relu(D x)``: narrower inside, nothing at first.

    :param dim: of what comes and of what is given.
    """

    def __init__(self, dim: int, reduction: int) -> None:
        super().__init__()
        self.down = nn.Linear(dim, max(1, dim // reduction))
        self.up = nn.Linear(self.down.out_features, dim)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        moved: torch.Tensor = self.up(torch.relu(self.down(states)))
        return moved


class InvertibleAdapter(nn.Module):
    """Additive coupling (NICE; Dinh et al., 2015): each half is moved by what the other says.

    :param dim: of the embeddings, even.
    """

    def __init__(self, dim: int, reduction: int) -> None:
        super().__init__()
        if dim % 2:
            raise InputError(f"an invertible adapter needs embeddings of even dim, not {dim}")
        self.first = Bottleneck(dim // 2, reduction)
        self.second = Bottleneck(dim // 2, reduction)

    def forward(self, embeddings: torch.Tensor) -> torch.Tensor:
        """``o1 = e1 + F(e2)``, ``o2 = e2 + G(o1)``."""
        one, two = embeddings.chunk(2, dim=-1)
        one = one + self.first(two)
        two = two + self.second(one)
        return torch.cat([one, two], dim=-1)

    def inverse(self, states: torch.Tensor) -> torch.Tensor:
        """``e2 = o2 - G(o1)``, ``e1 = o1 - F(e2)``."""
        one, two = states.chunk(2, dim=-1)
        two = two - self.second(one)
        one = one - self.first(two)
        return torch.cat([one, two], dim=-1)


class LanguageAdapter(nn.Module):
    """The parameters of one language, and the hooks that put them into a model and take them out.

    They are no part of the model: ``model.parameters()`` and ``save_pretrained`` know nothing of
    them.

    :param blocks: how many; ALBERT, which has one block and runs it again, has one bottleneck.
    :param embedding_dim: of the word embeddings, which is not ``dim`` in ALBERT and ELECTRA.
    """

    def __init__(
        self, settings: AdapterSettings, *, blocks: int, dim: int, embedding_dim: int
    ) -> None:
        super().__init__()
        self.settings = settings
        self.blocks = nn.ModuleList(Bottleneck(dim, settings.reduction) for _ in range(blocks))
        self.invertible = (
            InvertibleAdapter(embedding_dim, settings.invertible_reduction)
            if settings.invertible
            else None
        )
        self._handles: list[RemovableHandle] = []

    def install(self, model: Any) -> None:
        """Make ``model`` compute with the adapter, until :meth:`remove`.

        :raises InputError: if it is installed already.
        """
        if self._handles:
            raise InputError("the adapter is installed already; remove it first")
        for block, bottleneck in zip(adaptable_blocks(model), self.blocks, strict=True):
            self._handles.append(block.register_forward_hook(_behind(bottleneck)))
        if self.invertible is None:
            return
        forward, inverse = self.invertible, self.invertible.inverse
        self._handles.append(
            model.get_input_embeddings().register_forward_hook(lambda _, __, rows: forward(rows))
        )
        # an encoder half or a model without a head has no output matrix
        output = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None
        if output is not None:
            self._handles.append(
                output.register_forward_pre_hook(lambda _, args: (inverse(args[0]), *args[1:]))
            )

    def remove(self) -> None:
        """Give the model back as it was."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()


def add_language_adapter(model: Any, settings: AdapterSettings) -> LanguageAdapter:
    """A new adapter, installed, that changes nothing yet.

    Freeze the model and train ``adapter.parameters()``; then :func:`save_adapter`.

    :raises InputError: if the model's blocks cannot be found, or are not whole.
    """
    adapter = _build(model, settings)
    adapter.install(model)
    return adapter


def adaptable_blocks(model: Any) -> list[nn.Module]:
    """The blocks of ``model``, each of which gives hidden states.

    :raises InputError: if it has none: XLM keeps attention and feed-forward in separate lists.
    """
    base = getattr(model, "base_model", model)
    blocks = find_blocks(base, int(base.config.num_hidden_layers))
    if base.config.model_type in ("xlm", "flaubert"):
        raise InputError(
            f"a {base.config.model_type} model has no whole blocks to put adapters behind"
        )
    return blocks


def save_adapter(adapter: LanguageAdapter, folder: Path) -> None:
    """Write ``adapter.safetensors`` and ``adapter.json`` into a checkpoint folder.

    bitext loads the model with the adapter from then on; plain ``transformers`` without it.

    :raises InputError: if the folder cannot be written.
    """
    weights = {name: tensor.contiguous() for name, tensor in adapter.state_dict().items()}
    temporary = folder / f".{WEIGHTS_FILE}.tmp"
    try:
        save_file(weights, temporary)
        temporary.chmod(0o644)  # safetensors writes for the owner's eyes only
        os.replace(temporary, folder / WEIGHTS_FILE)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"cannot write {folder / WEIGHTS_FILE}: {reason}") from error
    finally:
        temporary.unlink(missing_ok=True)
    # last, for this is the file that tells of an adapter
    with atomic_write(folder / SETTINGS_FILE) as file:
        file.write(json.dumps(adapter.settings.model_dump(), ensure_ascii=False, indent=1) + "\n")


def load_adapter(model: Any, folder: Path) -> LanguageAdapter | None:
    """Install the adapter of a checkpoint folder, if it has one.

    :param model: already on its device and in its dtype, which the adapter takes over.
    :raises InputError: if ``adapter.json`` has a wrong key or value, or the weights cannot be read.
    :raises MismatchError: if the weights are those of an adapter for another model.
    """
    path = folder / SETTINGS_FILE
    if not path.is_file():
        return None
    try:
        settings = AdapterSettings.model_validate_json(path.read_bytes())
        weights = load_file(folder / WEIGHTS_FILE)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or "the file"
        raise InputError(f"{path}: {key}: {first['msg']}") from None
    except (OSError, SafetensorError) as error:
        raise InputError(f"{folder / WEIGHTS_FILE} cannot be read: {error}") from error
    adapter = _build(model, settings)
    _check_sizes(adapter, weights, folder)
    adapter.load_state_dict(weights)
    adapter.to(model.get_input_embeddings().weight).eval()
    for parameter in adapter.parameters():
        parameter.requires_grad_(False)
    adapter.install(model)
    return adapter


def _build(model: Any, settings: AdapterSettings) -> LanguageAdapter:
    table = model.get_input_embeddings().weight
    adapter = LanguageAdapter(
        settings,
        blocks=len(adaptable_blocks(model)),
        dim=int(model.config.hidden_size),
        embedding_dim=int(table.shape[1]),
    )
    return adapter.to(table)


def _check_sizes(adapter: LanguageAdapter, weights: dict[str, torch.Tensor], folder: Path) -> None:
    wanted = {name: tuple(tensor.shape) for name, tensor in adapter.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    for name in sorted(wanted.keys() | found.keys()):
        if wanted.get(name) != found.get(name):
            raise MismatchError(
                f"{folder / WEIGHTS_FILE}: '{name}' has shape {found.get(name, 'none')}, and the "
                f"model and {SETTINGS_FILE} ask for {wanted.get(name, 'none')}"
            )


def _behind(bottleneck: nn.Module) -> Callable[..., Any]:
    """A hook that adds the bottleneck to what a block gives: states, or states and more."""

    def add(block: nn.Module, args: Any, output: Any) -> Any:
        if isinstance(output, torch.Tensor):
            return output + bottleneck(output)
        states = output[0]
        return (states + bottleneck(states), *output[1:])

    return add
