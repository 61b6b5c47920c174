"""``POST /v1/translate``: texts, how to search, and hypotheses."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from service.schemas.align import AlignedPair
from service.schemas.fields import LARGEST_ID, Body, ModelName, Short, Text, Texts, refusal

SEED = 1


class TranslateRequest(Body):
    """One text (`text`) or many (`texts`), and how hypotheses are searched for.

    The search is that of the command `bitext translate`, with the same defaults.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"text": "A dog runs in the snow."},
                {
                    "texts": ["A dog runs in the snow.", "Two men play football."],
                    "source_lang": "en",
                    "target_lang": "de",
                    "beam_size": 4,
                    "n_best": 2,
                    "align": True,
                },
                {
                    "text": "A dog runs in the snow.",
                    "prefix": "Ein",
                    "no_repeat_ngram": 3,
                    "max_length_ratio": 2.0,
                    "too_long": "split",
                },
                {"text": "A dog runs.", "sample": True, "n_best": 3, "top_p": 0.9, "seed": 7},
            ]
        }
    )

    text: Text | None = None
    texts: Texts | None = None
    model: Annotated[
        Short | None,
        Field(description="A translation model of /v1/models; none: the one that translates so."),
    ] = None
    source_lang: Short | None = Field(
        None, description="As the model knows it, such as en; none: its only one."
    )
    target_lang: Short | None = Field(None, description="The same, for what is written.")
    beam_size: int = Field(5, ge=1, le=LARGEST_ID, description="1 is greedy search.")
    length_penalty: float = Field(
        1.0, ge=-10, le=10, description="Scores are divided by the length to this power."
    )
    no_repeat_ngram: int = Field(
        0, ge=0, le=LARGEST_ID, description="No run of so many pieces comes twice; 0 allows it."
    )
    n_best: int = Field(1, ge=1, le=LARGEST_ID, description="Hypotheses of each text.")
    max_length: int | None = Field(
        None, ge=1, le=LARGEST_ID, description="Pieces of a hypothesis; none: what the model can."
    )
    max_length_ratio: float | None = Field(
        None, gt=0, le=1000, description="The same, for each piece of the source."
    )
    prefix: Text | None = Field(None, description="What the translation of `text` begins with.")
    prefixes: Texts | None = Field(None, description="The same, one for each of `texts`.")
    sample: bool = Field(False, description="Draw pieces by their probability; engine torch only.")
    temperature: float = Field(1.0, gt=0, le=1000, description="Of samples.")
    top_k: int = Field(0, ge=0, le=LARGEST_ID, description="Of samples: likeliest pieces; 0: all.")
    top_p: float = Field(1.0, gt=0, le=1, description="Of samples: the share of their pieces.")
    seed: int = Field(SEED, ge=0, le=LARGEST_ID, description="Of samples.")
    too_long: Literal["error", "split"] = Field(
        "error", description="A text longer than the model: an error, or sentence by sentence."
    )
    align: bool = Field(False, description="Also align the words of text and best hypothesis.")
    alignment_model: ModelName = None

    @model_validator(mode="before")
    @classmethod
    def _one_form(cls, values: Any) -> Any:
        """Tell a request of neither form, or of both, before its fields are looked at."""
        if isinstance(values, dict):
            given = [name for name in ("text", "texts") if values.get(name) is not None]
            if len(given) != 1:
                came = "both" if given else "neither"
                raise refusal(f"expected either 'text' or 'texts', got {came}")
            own, other = ("prefix", "prefixes") if given == ["text"] else ("prefixes", "prefix")
            if values.get(other) is not None:
                raise ValueError(f"expected '{own}' beside '{given[0]}', not '{other}'")
        return values

    @model_validator(mode="after")
    def _has_effect(self) -> TranslateRequest:
        if self.alignment_model is not None and not self.align:
            raise refusal("'alignment_model' is for 'align', which was not asked for")
        if self.seed != SEED and not self.sample:
            raise refusal("'seed' is for 'sample', which was not asked for")
        return self

    def each(self) -> list[str]:
        """The texts, whichever form they came in."""
        if self.texts is not None:
            return self.texts
        assert self.text is not None
        return [self.text]

    def each_prefix(self) -> list[str] | None:
        """What their translations begin with, if anything was said of that."""
        return [self.prefix] if self.prefix is not None else self.prefixes


class HypothesisOut(BaseModel):
    """A translation, as the model sees it."""

    text: str
    score: float = Field(description="Log-probability by length; larger is likelier.")
    truncated: bool = Field(description="It had not ended where it had to.")


class Translation(BaseModel):
    """What is found for one text."""

    hypotheses: list[HypothesisOut] = Field(description="Best first.")
    flags: list[str] = Field(
        description="What shows without a reference that the best went wrong: empty, copied, "
        "repeated, short, long, unknown."
    )
    alignment: AlignedPair | None = Field(None, description="With align: as /align answers.")


class TranslateResponse(BaseModel):
    """One translation a text, in the order of the texts."""

    translations: list[Translation]
    model: str
    engine: str
    source_lang: str
    target_lang: str
    alignment_model: str | None = Field(None, description="With align: whose links they are.")
