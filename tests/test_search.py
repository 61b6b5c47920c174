"""Greedy search, beam search and sampling, against ``generate`` of transformers and by hand."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
import transformers
from pydantic import ValidationError
from torch import Tensor

from nmt.search.candidates import best, drawn, forbid_repeats
from nmt.search.frontier import Batch, Found
from nmt.search.search import SearchSettings, search
from nmt.search.steps import SHARED, share_attention

END, PAD, TAG = 2, 1, 7
KINDS = {
    "bart": (transformers.BartConfig, transformers.BartForConditionalGeneration),
    "marian": (transformers.MarianConfig, transformers.MarianMTModel),
    "mbart": (transformers.MBartConfig, transformers.MBartForConditionalGeneration),
    "m2m_100": (transformers.M2M100Config, transformers.M2M100ForConditionalGeneration),
}


def random_model(kind: str, seed: int, *, pieces: int = 97, peaked: float = 3.0) -> Any:
    """A tiny model that prefers few pieces, so that hypotheses end and differ clearly."""
    torch.manual_seed(seed)
    special: dict[str, Any] = {
        "pad_token_id": PAD,
        "eos_token_id": END,
        "decoder_start_token_id": END,
    }
    if kind == "t5":
        size: dict[str, Any] = {
            "d_model": 16,
            "d_kv": 8,
            "d_ff": 32,
            "num_layers": 2,
            "num_heads": 2,
        }
        config = transformers.T5Config(vocab_size=pieces, **size, **special)
        model: Any = transformers.T5ForConditionalGeneration(config)
    else:
        make_config, make_model = KINDS[kind]
        halves = {"layers": 2, "attention_heads": 2, "ffn_dim": 32}
        size = {f"{half}_{k}": v for half in ("encoder", "decoder") for k, v in halves.items()}
        more: dict[str, Any] = {
            "d_model": 16,
            "max_position_embeddings": 64,
            "forced_eos_token_id": None,
        }
        model = make_model(make_config(vocab_size=pieces, **size, **more, **special))
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.data += 0.25 * torch.randn_like(parameter)
    model.lm_head.weight.data *= peaked
    if hasattr(model, "final_logits_bias"):
        model.final_logits_bias[0, END] = 2 * peaked
    return model.eval()


def sentences(seed: int, count: int, pieces: int = 97) -> list[list[int]]:
    numbers = random.Random(seed)
    lengths = [numbers.randrange(1, 12) for _ in range(count)]
    return [[*(numbers.randrange(5, pieces) for _ in range(length)), END] for length in lengths]


def batch_of(
    sources: list[list[int]],
    given: list[list[int]] | None = None,
    counted: int = 0,
    limits: list[int] | None = None,
) -> Batch:
    rows = [torch.tensor(source) for source in sources]
    source = torch.nn.utils.rnn.pad_sequence(rows, True, PAD)
    given = given or [[END]] * len(rows)
    return Batch(source, source != PAD, given, counted, limits or [20] * len(rows))


def generated(
    model: Any, batch: Batch, how: SearchSettings, limit: int, **more: Any
) -> list[list[tuple[list[int], float | None]]]:
    """What ``generate`` finds: the pieces with their end, and the scores of a beam search."""
    output = model.generate(
        batch.source,
        attention_mask=batch.mask.long(),
        do_sample=False,
        num_beams=how.beam_size,
        num_return_sequences=how.n_best,
        length_penalty=how.length_penalty,
        no_repeat_ngram_size=how.no_repeat_ngram,
        early_stopping=how.early_stopping,
        max_new_tokens=limit,
        return_dict_in_generate=True,
        output_scores=True,
        **more,
    )
    found = []
    scores = output.sequences_scores.tolist() if how.beam_size > 1 else None
    for i, row in enumerate(output.sequences[:, len(batch.given[0]) :].tolist()):
        ids = row[: row.index(END) + 1] if END in row else row
        found.append((ids, None if scores is None else scores[i]))
    return [found[i : i + how.n_best] for i in range(0, len(found), how.n_best)]


def assert_same(
    found: list[list[Found]], expected: list[list[tuple[list[int], float | None]]]
) -> None:
    for own, theirs in zip(found, expected, strict=True):
        for hypothesis, (ids, score) in zip(own, theirs, strict=True):
            assert hypothesis.ids + [END] * (not hypothesis.truncated) == ids
            if score is not None:
                assert hypothesis.score == pytest.approx(score, rel=1e-5, abs=1e-4)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("kind", [*KINDS, "t5"])
def test_hypotheses_are_those_of_generate(kind: str, seed: int) -> None:
    numbers = random.Random(seed)
    # the larger vocabulary is above the size from which its blocks are looked at first
    pieces = numbers.choice([97, 1003])
    model = random_model(kind, seed, pieces=pieces, peaked=numbers.choice([1.0, 2.0, 4.0]))
    if seed % 4:
        share_attention(model)
        assert (model.config._attn_implementation == SHARED) == (kind != "t5")
    beams = numbers.choice([1, 2, 3, 5])
    how = SearchSettings(
        beam_size=beams,
        n_best=numbers.randint(1, beams),
        length_penalty=numbers.choice([0.0, 0.6, 1.0, 2.0, -0.5]),
        no_repeat_ngram=numbers.choice([0, 0, 2, 3]),
        early_stopping=numbers.choice([False, False, True]),
    )
    tag = numbers.choice([None, TAG])
    limit = numbers.choice([8, 20, 40])
    given = [[END] if tag is None else [END, tag]] * 5
    batch = batch_of(sentences(seed, 5, pieces), given, len(given[0]) - 1, [limit] * 5)
    found = search(model, batch, how, end=END)
    assert_same(found, generated(model, batch, how, limit, forced_bos_token_id=tag))


def test_each_sentence_has_its_own_prefix_and_limit() -> None:
    """As if each were generated alone, from its own decoder_input_ids."""
    model = random_model("bart", 3)
    share_attention(model)
    sources = sentences(3, 4)
    given = [[END], [END, 9, 8, 7], [END, 30], [END]]
    limits = [12, 5, 20, 1]
    how = SearchSettings(beam_size=3, n_best=2)
    found = search(model, batch_of(sources, given, 0, limits), how, end=END)
    for i, own in enumerate(found):
        alone = batch_of([sources[i]], [given[i]], 0, [limits[i]])
        prefix = torch.tensor([given[i]])
        assert_same([own], generated(model, alone, how, limits[i], decoder_input_ids=prefix))
    assert all(hypothesis.truncated or not hypothesis.ids for hypothesis in found[3])


def test_forbidden_pieces_are_never_written() -> None:
    model = random_model("marian", 5)
    batch = batch_of(sentences(5, 4))
    free = search(model, batch, SearchSettings(beam_size=2), end=END)
    common = max(free[0][0].ids, key=free[0][0].ids.count)
    found = search(model, batch, SearchSettings(beam_size=2), end=END, forbidden=[common])
    assert not any(common in own[0].ids for own in found)
    expected = generated(model, batch, SearchSettings(beam_size=2), 20, bad_words_ids=[[common]])
    assert_same(found, expected)


# --- sampling


def test_a_sample_does_not_depend_on_its_neighbours() -> None:
    model = random_model("bart", 1, peaked=1.0)
    share_attention(model)
    sources = sentences(1, 6)
    how = SearchSettings(sample=True, n_best=3, temperature=1.3, top_k=40, top_p=0.95, seed=5)
    together = search(model, batch_of(sources), how, end=END)
    for source, own in zip(sources, together, strict=True):
        [alone] = search(model, batch_of([source]), how, end=END)
        assert [one.ids for one in alone] == [one.ids for one in own]
        assert [one.score for one in own] == sorted((one.score for one in own), reverse=True)
    other = search(model, batch_of(sources), how.model_copy(update={"seed": 6}), end=END)
    assert [own[0].ids for own in other] != [own[0].ids for own in together]


def test_the_likeliest_piece_alone_is_greedy_search() -> None:
    model = random_model("bart", 2)
    batch = batch_of(sentences(2, 4))
    greedy = search(model, batch, SearchSettings(beam_size=1), end=END)
    for one in ({"top_k": 1}, {"top_p": 1e-6}):
        drawn = search(model, batch, SearchSettings(sample=True, **one), end=END)
        assert [own[0].ids for own in drawn] == [own[0].ids for own in greedy]


@pytest.mark.parametrize(
    ("uniform", "top_k", "top_p", "piece"),
    [
        # probabilities 0.3, 0.5, 0.2: the sums are 0.3, 0.8, 1
        (0.29, 0, 1.0, 0),
        (0.31, 0, 1.0, 1),
        (0.81, 0, 1.0, 2),
        # the two likeliest, 0.5 and 0.3 in this order: the sums are 0.625 and 1
        (0.62, 2, 1.0, 1),
        (0.63, 2, 1.0, 0),
        # 0.5 is too little for 0.6, so 0.3 takes part, too
        (0.63, 0, 0.6, 0),
        (0.99, 0, 0.4, 1),
    ],
)
def test_a_piece_is_drawn_where_the_number_falls(
    uniform: float, top_k: int, top_p: float, piece: int
) -> None:
    logits = torch.tensor([[0.3, 0.5, 0.2]]).log()
    number = torch.tensor([uniform], dtype=torch.float64)
    assert drawn(logits, number, top_k=top_k, top_p=top_p).tolist() == [piece]


# --- candidates


@pytest.mark.parametrize("size", [4999, 5056])
def test_the_best_of_large_rows(size: int) -> None:
    """Sizes that are, and are not, a whole number of blocks; the last number is the largest."""
    torch.manual_seed(0)
    rows = torch.randn(3, size)
    rows[0, -1] = 99
    values, places = best(rows, 6)
    expected: Tensor = rows.sort(dim=1, descending=True).values[:, :6]
    assert torch.equal(values, expected)
    assert torch.equal(rows.gather(1, places), expected)


def test_a_piece_that_would_repeat_a_run_is_forbidden() -> None:
    # 5 6 7 5: of two pieces, 5 6 stands there; of three, no run begins with 7 5
    written = torch.tensor([[[5, 6, 7, 5]]])
    for size, forbidden in ((2, [6]), (3, [])):
        logits = torch.zeros(1, 1, 9)
        forbid_repeats(logits, written, size)
        assert logits.isinf().nonzero()[:, 2].tolist() == forbidden


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"beam_size": 0}, "greater than 0"),
        ({"beam_size": 2, "n_best": 3}, "n_best 3 is more than the beam_size of 2"),
        ({"no_repeat_ngram": 1}, "0 or at least 2"),
        ({"top_k": 5}, "top_k is for sampling"),
        ({"beams": 5}, "Extra inputs"),
    ],
)
def test_settings_that_make_no_sense(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        SearchSettings(**settings)
