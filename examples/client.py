"""Ask a running service from a program: start ``bitext serve``, then ``python client.py``."""

import json
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

SERVICE = "http://127.0.0.1:8000"


def ask(method: str, path: str, body: Any = None) -> Any:
    """The JSON answer of the service; its own sentence where it refuses."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    try:
        with urlopen(Request(SERVICE + path, data, headers, method=method)) as answer:
            text = answer.read()
    except HTTPError as refusal:
        raise SystemExit(json.load(refusal)["detail"]) from None
    return json.loads(text) if text else None


def main() -> None:
    pair = {"source": "The house is small.", "target": "Das Haus ist klein."}
    [aligned] = ask("POST", "/align", pair)["alignments"]
    for link in aligned["links"]:
        source = aligned["source_words"][link["source"]]
        target = aligned["target_words"][link["target"]]
        print(f"{source}\t{target}\t{link['score']:.2f}")

    ask("PUT", "/v1/indexes/greetings")
    sentences = ["Guten Morgen!", "Wie geht es dir?", "Bis morgen!"]
    ask("POST", "/v1/indexes/greetings/sentences", {"sentences": sentences, "language": "de"})
    query = {"index": "greetings", "queries": ["How are you?"], "k": 1}
    [[hit]] = ask("POST", "/retrieve", query)["results"]
    print(f"{hit['text']}\t{hit['score']:.2f}")
    ask("DELETE", "/v1/indexes/greetings")


if __name__ == "__main__":
    main()
