"""Search German sentences by English ones: ``python search_translations.py``."""

import tempfile
from pathlib import Path

from encoders.registry import default_registry
from retrieval.store.text_index import TextIndex

GERMAN = [
    "Das alte Haus hat einen kleinen Garten.",
    "Ich trinke jeden Morgen eine Tasse Kaffee.",
    "Der Zug nach Berlin fährt um acht Uhr ab.",
    "Meine Schwester lernt seit drei Jahren Russisch.",
]
QUERIES = ["When does the train to Berlin leave?", "She has been learning Russian."]


def main() -> None:
    encoder = default_registry().encoder("bundled")
    with tempfile.TemporaryDirectory() as folder:
        index = TextIndex.create(Path(folder) / "german", encoder)
        index.add(GERMAN, language="de", encoder=encoder)
        for query, hits in zip(QUERIES, index.retrieve(QUERIES, k=2, encoder=encoder), strict=True):
            print(query)
            for hit in hits:
                print(f"  {hit.score:.2f}  {hit.text}")


if __name__ == "__main__":
    main()
