from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from conftest import Serve
from starlette.testclient import TestClient

HOUSE = {"id": 5, "text": "das haus ist klein", "metadata": {"year": 1995, "genre": "news"}}
GARDEN = {"id": 2, "text": "der garten ist groß", "metadata": {"year": 1980, "draft": True}}
CAT = {"id": 9, "text": "a cat sleeps", "language": "en", "metadata": {"year": "1995"}}
BARE = {"id": 0, "text": "das alte haus"}


@pytest.fixture(scope="module")
def client(serve: Serve) -> Iterator[TestClient]:
    with serve(
        max_queries=3,
        max_k=20,
        max_sentences=6,
        max_page=5,
        max_characters=100,
        max_index_sentences=12,
    ) as client:
        yield client


@pytest.fixture
def index(client: TestClient) -> Iterator[str]:
    """The path of an index of the four sentences above."""
    client.put("/v1/indexes/mine", json={"centring": False})
    put(client, HOUSE, GARDEN, CAT, BARE)
    yield "/v1/indexes/mine"
    client.delete("/v1/indexes/mine")


def put(client: TestClient, *sentences: Any) -> Any:
    body = {"sentences": sentences, "language": "de"}
    response = client.put("/v1/indexes/mine/sentences", json=body)
    assert response.status_code == 200, response.text
    return response.json()


def answer(client: TestClient, path: str, body: Any = None) -> Any:
    """What a POST of ``body``, or a GET without one, is answered."""
    response = client.get(path) if body is None else client.post(path, json=body)
    assert response.status_code in (200, 201), response.text
    return response.json()


def detail(response: Any, status: int) -> str:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    return str(response.json()["detail"])


def shown(sentence: Any) -> Any:
    """A sentence as an answer has it."""
    return {"language": "de", "metadata": {}, **sentence}


# --- putting and looking


def test_a_sentence_comes_back_as_it_was_put(client: TestClient, index: str) -> None:
    for sentence in (HOUSE, GARDEN, CAT, BARE):
        assert answer(client, f"{index}/sentences/{sentence['id']}") == shown(sentence)
    assert answer(client, index)["languages"] == {"de": 3, "en": 1}


def test_to_put_twice_is_to_put_once(client: TestClient, index: str) -> None:
    assert put(client, HOUSE, CAT) == {"ids": [5, 9], "count": 4}
    assert answer(client, f"{index}/sentences/5") == shown(HOUSE)


def test_what_is_put_takes_the_place_of_all_that_was_there(client: TestClient, index: str) -> None:
    new = {"id": 5, "text": "the house", "language": "en"}
    put(client, new)
    assert answer(client, f"{index}/sentences/5") == shown(new)
    assert answer(client, index)["languages"] == {"de": 2, "en": 2}
    ((best,),) = answer(client, f"{index}/search", {"query": "the house", "k": 1})["results"]
    assert (best["id"], best["metadata"]) == (5, {})
    assert best["score"] == pytest.approx(1, abs=1e-5)


def test_what_is_added_counts_on_and_may_carry_metadata(client: TestClient, index: str) -> None:
    metadata = {"a": None, "b": False, "c": 1.5, "d.e-f": "ü"}
    body = {
        "sentences": ["the garden", {"text": "ein garten", "language": "de", "metadata": metadata}],
        "language": "en",
    }
    assert answer(client, f"{index}/sentences", body) == {"ids": [10, 11], "count": 6}
    assert answer(client, f"{index}/sentences/11") == {
        "id": 11, "text": "ein garten", "language": "de", "metadata": metadata
    }  # fmt: skip
    assert answer(client, f"{index}/sentences/10")["language"] == "en"


def test_some_are_looked_up_and_what_is_missing_is_named(client: TestClient, index: str) -> None:
    assert answer(client, f"{index}/sentences/get", {"ids": [9, 7, 0, 9, 3]}) == {
        "sentences": [shown(CAT), shown(BARE)],
        "missing": [7, 3],
    }


def test_pages_lead_through_all(client: TestClient, index: str) -> None:
    first = answer(client, f"{index}/sentences?limit=3")
    assert [one["id"] for one in first["sentences"]] == [0, 2, 5]
    assert first["next"] == 5
    second = answer(client, f"{index}/sentences?limit=3&after=5")
    assert second == {"sentences": [shown(CAT)], "next": None}
    # A page that holds just what there is has no next one.
    assert answer(client, f"{index}/sentences?limit=4")["next"] is None
    only = answer(client, f"{index}/sentences?language=en&language=fr")
    assert [one["id"] for one in only["sentences"]] == [9]


def test_pages_of_what_a_filter_means(client: TestClient, index: str) -> None:
    request = {"limit": 1, "filter": {"language": ["de"], "metadata": {"year": {"lte": 2000}}}}
    first = answer(client, f"{index}/sentences/scroll", request)
    assert first == {"sentences": [shown(GARDEN)], "next": 2}
    second = answer(client, f"{index}/sentences/scroll", {**request, "after": 2})
    assert second == {"sentences": [shown(HOUSE)], "next": None}


# --- filters


@pytest.mark.parametrize(
    ("given", "ids"),
    [
        ({}, {0, 2, 5, 9}),
        ({"language": ["de"]}, {0, 2, 5}),
        ({"language": ["en", "fr"]}, {9}),
        ({"language": []}, set()),
        ({"metadata": {}}, {0, 2, 5, 9}),
        ({"metadata": {"genre": "news"}}, {5}),
        ({"metadata": {"genre": ["news", "web"]}}, {5}),
        ({"metadata": {"genre": []}}, set()),
        ({"metadata": {"year": 1995}}, {5}),  # a number is not the string "1995"
        ({"metadata": {"year": "1995"}}, {9}),
        ({"metadata": {"year": {"gte": 1981}}}, {5}),
        ({"metadata": {"year": {"gte": 1980, "lte": 1994.5}}}, {2}),
        ({"metadata": {"year": {"gte": "1"}}}, {9}),
        ({"metadata": {"draft": True}}, {2}),
        ({"metadata": {"draft": 1}}, set()),
        ({"metadata": {"draft": {"none_of": [True]}}}, {0, 5, 9}),
        ({"metadata": {"year": {"any_of": [1995, 1980], "none_of": [1980]}}}, {5}),
        ({"language": ["de"], "metadata": {"year": {"none_of": [1995]}}}, {0, 2}),
        ({"metadata": {"year": 1995, "genre": "web"}}, set()),
    ],
)
def test_a_filter_means_the_same_everywhere(
    client: TestClient, index: str, given: Any, ids: set[int]
) -> None:
    assert answer(client, f"{index}/count", {"filter": given}) == {"count": len(ids)}
    page = answer(client, f"{index}/sentences/scroll", {"limit": 5, "filter": given})
    assert {one["id"] for one in page["sentences"]} == ids
    request = {"queries": ["haus"], "k": 10, "filter": given}
    ((*hits,),) = answer(client, f"{index}/search", request)["results"]
    assert {hit["id"] for hit in hits} == ids
    request["index"] = "mine"
    assert answer(client, "/retrieve", request)["results"] == [hits]
    if given not in ({}, {"metadata": {}}):
        deleted = answer(client, f"{index}/sentences/delete", {"filter": given})
        assert deleted == {"deleted": len(ids), "count": 4 - len(ids)}


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (3, "field 'filter': expected a JSON object, got 3"),
        ([], "field 'filter': expected a JSON object, got []"),
        (
            {"lang": ["de"]},
            "field 'filter': unknown field 'lang'; choose one of: language, metadata",
        ),
        (
            {"language": "de"},
            "field 'filter.language': input should be a valid list, got \"de\"",
        ),
        ({"language": [1]}, "field 'filter.language.0': input should be a valid string, got 1"),
        ({"language": ["d e"]}, "field 'filter.language.0': expected a language such as 'de'"),
        ({"language": ["de"] * 501}, "field 'filter': a filter may name 500 values, got 501"),
        ({"metadata": []}, "field 'filter.metadata': expected a JSON object, got []"),
        ({"metadata": {"a b": 1}}, "field 'filter': a metadata key has 1 to 64 letters"),
        ({"metadata": {"": 1}}, "field 'filter': a metadata key has 1 to 64 letters"),
        (
            {"metadata": {"text": [[1]]}},
            "field 'filter.metadata.text.0': expected a string, a number, true, false or null",
        ),
        (
            {"metadata": {"year": {"gt": 1}}},
            "field 'filter.metadata.year': unknown field 'gt'; choose one of: any_of, gte",
        ),
        (
            {"metadata": {"year": {}}},
            "field 'filter': the condition on 'year' says neither values nor bounds",
        ),
        ({"metadata": {"year": {"gte": True}}}, "field 'filter': 'year' is bounded by numbers"),
        (
            {"metadata": {"year": {"gte": {"a": 1}}}},
            "field 'filter.metadata.year.gte': expected a string, a number, true",
        ),
        ({"metadata": {"year": 2**63}}, "field 'filter': metadata 'year' has a number beyond 64"),
        ({"metadata": {"year": "\0"}}, "field 'filter': metadata 'year' holds a NUL"),
        (
            {"metadata": {f"a{n}": n for n in range(51)}},
            "field 'filter.metadata': a filter may have 50 conditions, got 51",
        ),
    ],
)
@pytest.mark.parametrize("verb", ["count", "search", "sentences/scroll", "sentences/delete"])
def test_a_bad_filter_is_refused_by_name(
    client: TestClient, index: str, verb: str, given: Any, sentence: str
) -> None:
    body = {"filter": given, **({"query": "haus"} if verb == "search" else {})}
    assert detail(client.post(f"{index}/{verb}", json=body), 422).startswith(sentence)
    assert answer(client, f"{index}/count", {}) == {"count": 4}


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_what_is_no_number_is_refused(client: TestClient, index: str, number: str) -> None:
    headers = {"content-type": "application/json"}
    body = f'{{"filter": {{"metadata": {{"year": {number}}}}}}}'
    refused = client.post(f"{index}/count", content=body, headers=headers)
    assert "metadata 'year' must be a finite number" in detail(refused, 422)
    body = f'{{"sentences": [{{"id": 1, "text": "a", "metadata": {{"a": {number}}}}}]}}'
    refused = client.put(f"{index}/sentences", content=body, headers=headers)
    assert "field 'sentences.0.metadata': metadata 'a' must be" in detail(refused, 422)
    body = f'{{"query": "a", "threshold": {number}}}'
    refused = client.post(f"{index}/search", content=body, headers=headers)
    assert detail(refused, 422).startswith("field 'threshold': input should be")


# --- taking away


def test_sentences_are_taken_away_by_id(client: TestClient, index: str) -> None:
    request = {"ids": [5, 5, 7]}
    assert answer(client, f"{index}/sentences/delete", request) == {"deleted": 1, "count": 3}
    assert answer(client, f"{index}/sentences/delete", request) == {"deleted": 0, "count": 3}
    gone = client.get(f"{index}/sentences/5")
    assert detail(gone, 404) == "index 'mine' has no sentence 5"
    assert gone.json()["type"] == "/problems/unknown-sentence"
    ((*hits,),) = answer(client, f"{index}/search", {"query": HOUSE["text"]})["results"]
    assert {hit["id"] for hit in hits} == {0, 2, 9}


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({}, "expected either 'ids' or 'filter', got {}"),
        ({"ids": [1], "filter": {"language": ["de"]}}, "expected either 'ids' or 'filter'"),
        ({"filter": {}}, "'filter' says nothing and would mean every sentence"),
        ({"ids": []}, "field 'ids': expected at least one id, got none"),
        ({"ids": [-1]}, "field 'ids.0': input should be greater than or equal to 0, got -1"),
        ({"ids": ["1"]}, "field 'ids.0': input should be a valid integer, got \"1\""),
        ({"ids": 1}, "field 'ids': input should be a valid list, got 1"),
    ],
)
def test_a_deletion_must_say_what_goes(
    client: TestClient, index: str, body: Any, sentence: str
) -> None:
    refused = client.post(f"{index}/sentences/delete", json=body)
    assert detail(refused, 422).startswith(sentence)
    assert answer(client, f"{index}/count", {}) == {"count": 4}


# --- searching


def test_a_batch_is_the_searches_one_by_one(client: TestClient, index: str) -> None:
    searches = [
        {"query": "the house", "k": 2},
        {"queries": ["katze", "garten"], "k": 1, "filter": {"language": ["de"]}},
    ]
    batch = answer(client, f"{index}/search/batch", {"searches": searches})["searches"]
    assert batch == [answer(client, f"{index}/search", search) for search in searches]
    assert [len(search["results"]) for search in batch] == [1, 2]
    assert [len(hits) for search in batch for hits in search["results"]] == [2, 1, 1]


def test_a_threshold_leaves_hits_out(client: TestClient, index: str) -> None:
    request = {"query": HOUSE["text"], "k": 4, "threshold": 0.99999}
    ((hit,),) = answer(client, f"{index}/search", request)["results"]
    assert hit["id"] == 5


@pytest.mark.parametrize(
    ("body", "status", "sentence"),
    [
        ({"k": 1}, 422, "expected either 'query' or 'queries', got"),
        ({"query": "a", "queries": ["a"]}, 422, "expected either 'query' or 'queries', got"),
        ({"query": 3}, 422, "field 'query': input should be a valid string, got 3"),
        ({"query": ""}, 422, "query 1 ('') has nothing in it to compare"),
        ({"query": "a\0"}, 422, "field 'query': character 2 is a NUL, not text"),
        ({"query": "a" * 101}, 413, "query 1: 101 characters are more than the 100"),
        ({"query": "a", "k": 21}, 422, "field 'searches.0.k': at most 20 (BITEXT_MAX_K), got 21"),
        ({"query": "a", "language": ""}, 422, "field 'language': expected a language such"),
        ({"queries": ["a"] * 4}, 413, "4 queries are more than the 3 that are taken"),
    ],
)
def test_a_bad_search_is_refused_by_name(
    client: TestClient, index: str, body: Any, status: int, sentence: str
) -> None:
    alone = client.post(f"{index}/search", json=body)
    assert detail(alone, status).startswith(sentence.replace("searches.0.k", "k"))
    batch = detail(client.post(f"{index}/search/batch", json={"searches": [body]}), status)
    nested = sentence.replace("field '", "field 'searches.0.")
    assert batch.startswith((sentence, nested, f"field 'searches.0': {sentence}"))


def test_queries_of_a_batch_are_counted_together(client: TestClient, index: str) -> None:
    searches = [{"queries": ["a", "b"]}, {"queries": ["c", "d"]}]
    refused = client.post(f"{index}/search/batch", json={"searches": searches})
    assert detail(refused, 413).startswith("4 queries are more than the 3")
    none = client.post(f"{index}/search/batch", json={"searches": []})
    assert detail(none, 422) == "field 'searches': expected at least one search, got none"


# --- what is refused


@pytest.mark.parametrize(
    ("sentence", "said"),
    [
        ("a", "field 'sentences.1': expected a JSON object, got \"a\""),
        ({"text": "a"}, "field 'sentences.1.id' is missing"),
        ({"id": 1}, "field 'sentences.1.text' is missing"),
        ({"id": -1, "text": "a"}, "field 'sentences.1.id': input should be greater than or equal"),
        ({"id": 2**63, "text": "a"}, "field 'sentences.1.id': input should be less than or equal"),
        ({"id": "1", "text": "a"}, "field 'sentences.1.id': input should be a valid integer"),
        ({"id": True, "text": "a"}, "field 'sentences.1.id': input should be a valid integer"),
        ({"id": 5, "text": "a"}, "field 'sentences.1.id': 5 is given twice"),
        ({"id": 1, "text": ""}, "sentence 2 ('') has nothing in it to compare"),
        ({"id": 1, "text": 3}, "field 'sentences.1.text': input should be a valid string, got 3"),
        (
            {"id": 1, "text": "a", "language": "d e"},
            "field 'sentences.1.language': expected a lang",
        ),
        ({"id": 1, "text": "a", "tags": []}, "field 'sentences.1': unknown field 'tags'; choose"),
        (
            {"id": 1, "text": "a", "metadata": 3},
            "field 'sentences.1.metadata': expected a JSON object, got 3",
        ),
        (
            {"id": 1, "text": "a", "metadata": {"a": {"b": {"c": 1}}}},
            "field 'sentences.1.metadata': metadata 'a' must be a string, a number",
        ),
        (
            {"id": 1, "text": "a", "metadata": {"a/b": 1}},
            "field 'sentences.1.metadata': a metadata key has 1 to 64 letters",
        ),
        (
            {"id": 1, "text": "a", "metadata": {"a": "x" * 17_000}},
            "field 'sentences.1.metadata': metadata may be 16384 bytes of JSON",
        ),
        (
            {"id": 1, "text": "a", "metadata": {f"a{n}": n for n in range(65)}},
            "field 'sentences.1.metadata': metadata may have 64 keys, got 65",
        ),
    ],
)
def test_of_a_bad_sentence_nothing_is_put(
    client: TestClient, index: str, sentence: Any, said: str
) -> None:
    body = {"sentences": [{**HOUSE, "text": "new"}, sentence], "language": "de"}
    assert detail(client.put(f"{index}/sentences", json=body), 422).startswith(said)
    assert answer(client, f"{index}/sentences/5") == shown(HOUSE)
    assert answer(client, f"{index}/count", {}) == {"count": 4}


def test_a_sentence_needs_a_language(client: TestClient, index: str) -> None:
    for request in (client.put, client.post):
        body = {"sentences": [{"text": "a", **({"id": 1} if request == client.put else {})}]}
        assert detail(request(f"{index}/sentences", json=body), 422) == (
            "field 'sentences.0.language' is missing, and there is no 'language' for all of them"
        )


def test_what_is_added_is_a_text_or_an_object(client: TestClient, index: str) -> None:
    body = {"sentences": ["a", 3], "language": "de"}
    assert detail(client.post(f"{index}/sentences", json=body), 422) == (
        "field 'sentences.1': expected a text or an object with one, got 3"
    )
    body = {"sentences": [{"text": "a", "id": 1}], "language": "de"}
    assert "unknown field 'id'" in detail(client.post(f"{index}/sentences", json=body), 422)


@pytest.mark.parametrize("depth", [5, 400, 20_000])
def test_deep_metadata_is_refused(client: TestClient, index: str, depth: int) -> None:
    deep = "[" * depth + "]" * depth
    body = f'{{"sentences": [{{"id": 1, "text": "a", "metadata": {{"a": {deep}}}}}]}}'
    headers = {"content-type": "application/json"}
    response = client.put(f"{index}/sentences", content=body, headers=headers)
    # Beyond some depth Python's reader gives up, and it is no JSON to us.
    assert response.status_code == (400 if depth == 20_000 else 422)
    assert len(detail(response, response.status_code)) < 300


def test_too_much_at_once_is_refused(client: TestClient, index: str) -> None:
    many = [{"id": n, "text": "haus"} for n in range(7)]
    refused = client.put(f"{index}/sentences", json={"sentences": many, "language": "de"})
    assert detail(refused, 413) == (
        "7 sentences are more than the 6 that are taken (BITEXT_MAX_SENTENCES)"
    )
    ids = {"ids": list(range(7))}
    assert detail(client.post(f"{index}/sentences/delete", json=ids), 413).startswith("7 ids are")
    assert detail(client.post(f"{index}/sentences/get", json=ids), 413) == (
        "7 ids are more than the 5 that are taken (BITEXT_MAX_PAGE)"
    )
    for refused in (
        client.get(f"{index}/sentences?limit=6"),
        client.post(f"{index}/sentences/scroll", json={"limit": 6}),
    ):
        assert detail(refused, 422) == "field 'limit': at most 5 (BITEXT_MAX_PAGE), got 6"


def test_an_index_cannot_outgrow_its_limit_by_upserts(client: TestClient, index: str) -> None:
    put(client, *({"id": n, "text": f"haus {n}"} for n in range(20, 26)))
    full = [{"id": n, "text": f"haus {n}"} for n in (30, 31, 20)]  # 10, two new, one replaced
    assert put(client, *full)["count"] == 12
    body = {"sentences": [{"id": 40, "text": "haus"}], "language": "de"}
    assert detail(client.put(f"{index}/sentences", json=body), 413) == (
        "index 'mine' has 12 sentences and would have more than 12 (BITEXT_MAX_INDEX_SENTENCES)"
    )
    assert put(client, {"id": 20, "text": "garten"})["count"] == 12


@pytest.mark.parametrize("name", ["nope", "A", "a.b", "%2e%2e", "a%00b"])
@pytest.mark.parametrize(
    ("verb", "body"),
    [
        ("sentences/1", None),
        ("sentences", None),
        ("snapshots", None),
        ("sentences/get", {"ids": [1]}),
        ("sentences/delete", {"ids": [1]}),
        ("sentences/scroll", {}),
        ("sentences", {"sentences": ["a"], "language": "de"}),
        ("count", {}),
        ("search", {"query": "a"}),
        ("search/batch", {"searches": [{"query": "a"}]}),
    ],
)
def test_an_unknown_index_is_a_404(client: TestClient, name: str, verb: str, body: Any) -> None:
    path = f"/v1/indexes/{name}/{verb}"
    response = client.get(path) if body is None else client.post(path, json=body)
    assert detail(response, 404).startswith("there is no")


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("sentences/abc", "field 'id': expected a whole number, got \"abc\""),
        ("sentences/-1", "field 'id': input should be greater than or equal to 0"),
        (f"sentences/{2**63}", "field 'id': input should be less than or equal to"),
        ("sentences?limit=0", "field 'limit': input should be greater than or equal to 1"),
        ("sentences?limit=many", "field 'limit': expected a whole number"),
        ("sentences?after=-2", "field 'after': input should be greater than or equal to -1"),
        ("sentences?language=d%20e", "field 'language.0': expected a language such as 'de'"),
        (
            "sentences?lang=de",
            "unknown query parameter 'lang'; choose one of: after, language, lim",
        ),
    ],
)
def test_a_bad_address_is_refused_by_name(
    client: TestClient, index: str, path: str, sentence: str
) -> None:
    assert detail(client.get(f"{index}/{path}"), 422).startswith(sentence)


# --- many at once


def test_many_clients_write_and_read_at_once(client: TestClient) -> None:
    client.put("/v1/indexes/busy", json={"centring": False})
    path = "/v1/indexes/busy"

    def work(worker: int) -> None:
        """Put an own sentence again and again, look at it, and put and take away another one."""
        for turn in range(4):
            own = {"id": worker, "text": f"haus {worker} {turn}", "metadata": {"turn": turn}}
            other = {"id": 6 + worker % 6, "text": f"garten {worker}"}
            body = {"sentences": [own, other], "language": "de"}
            assert client.put(f"{path}/sentences", json=body).status_code == 200
            assert answer(client, f"{path}/sentences/{worker}")["metadata"] == {"turn": turn}
            request = {"query": own["text"], "k": 12, "filter": {"metadata": {"turn": turn}}}
            ((*hits,),) = answer(client, f"{path}/search", request)["results"]
            assert worker in {hit["id"] for hit in hits}
            answer(client, f"{path}/sentences/delete", {"ids": [other["id"]]})

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))
    page = answer(client, f"{path}/sentences/scroll", {"limit": 5, "filter": {}})
    assert [one["metadata"] for one in page["sentences"]] == [{"turn": 3}] * 5
    assert answer(client, path)["count"] == 6
    client.delete(path)


def test_an_address_may_name_so_many_languages(client: TestClient) -> None:
    at = "/v1/indexes/mine/sentences?" + "&".join(["language=de"] * 501)
    assert "field 'language'" in detail(client.get(at), 422)
