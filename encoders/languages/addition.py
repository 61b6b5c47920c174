"""What ``bitext adapt`` does for a new language: new pieces, factors, an adapter."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from bitext.bounds import LARGEST_SIZE, Size
from bitext.errors import choose_from
from bitext.text import atomic_write
from encoders.languages.adapters import AdapterSettings, LanguageAdapter, add_language_adapter
from encoders.languages.factorisation import factorise_model
from encoders.languages.piece_models import NewPiece
from encoders.languages.transliteration import TRANSFORMS, find_transform
from encoders.languages.vocabulary_extension import add_rows, append_pieces, new_pieces
from encoders.strict import Strict


class LanguageSettings(Strict):
    """How a model gets a language that it does not know."""

    text: list[str] = Field([])  # monolingual files that new pieces are learnt from
    pieces: Annotated[int, Field(ge=0, le=LARGEST_SIZE)] = 0  # how many new ones at most
    factorise: Size | None = None  # rank: new pieces get only factors of their own
    adapter: AdapterSettings | None = None  # MAD-X; nothing but the adapter moves then
    transliterate: str | None = None  # before the tokenizer, from now on

    @field_validator("transliterate")
    @classmethod
    def _exists(cls, name: str | None) -> str | None:
        if name is not None and name not in TRANSFORMS:
            raise ValueError(choose_from("transliteration", name, TRANSFORMS))
        return name

    @model_validator(mode="after")
    def _fits_together(self) -> LanguageSettings:
        if self.pieces and not self.text:
            raise ValueError("new pieces are learnt from text: name files (text = [...])")
        if self.factorise is not None and not self.pieces:
            raise ValueError("factorise gives factors to new pieces: say how many (pieces = ...)")
        return self


def add_language(
    model: Any,
    tokenizer: Any,
    settings: LanguageSettings,
    sentences: Callable[[], Iterable[str]],
    folder: Path,
    *,
    seed: int,
) -> tuple[Any, LanguageAdapter | None]:
    """Prepare ``model`` for a new language, before it is trained on that.

    :param sentences: gives the text that new pieces are learnt from.
    :param folder: where the new pieces are kept for a run that is stopped and goes on: learning
        them again would not give the very same.
    :return: the tokenizer with the new pieces, and the adapter, installed in the model.
    """
    if settings.pieces:
        pieces = _learn_once(tokenizer, settings, sentences, folder / "pieces.json")
        extended, parts = append_pieces(tokenizer, pieces, limit=settings.pieces)
        if settings.factorise is None:
            add_rows(model, parts, first=len(tokenizer), seed=seed)
        else:
            factorise_model(model, tokenizer, extended, rank=settings.factorise, seed=seed)
        tokenizer = extended
    if settings.adapter is None:
        return tokenizer, None
    return tokenizer, add_language_adapter(model, settings.adapter)


def _learn_once(
    tokenizer: Any,
    settings: LanguageSettings,
    sentences: Callable[[], Iterable[str]],
    path: Path,
) -> list[NewPiece]:
    if not path.is_file():
        transform = find_transform(settings.transliterate) or str
        text = (transform(sentence) for sentence in sentences())
        learnt = new_pieces(tokenizer, text, settings.pieces)
        with atomic_write(path) as file:
            json.dump([list(piece) for piece in learnt], file, ensure_ascii=False)
    return [NewPiece(*piece) for piece in json.loads(path.read_text(encoding="utf-8"))]
