"""Find the translations in two lists of sentences: ``python mine_translations.py``."""

from encoders.registry import default_registry
from retrieval.mining.miner import BitextMiner

GERMAN = [
    "Das alte Haus hat einen kleinen Garten.",
    "Der Hund schläft unter dem Tisch.",
    "Ich trinke jeden Morgen eine Tasse Kaffee.",
    "Der Zug nach Berlin fährt um acht Uhr ab.",
]
ENGLISH = [
    "The train to Berlin leaves at eight o'clock.",
    "My sister has been learning Russian for three years.",
    "I drink a cup of coffee every morning.",
    "The old house has a small garden.",
]


def main() -> None:
    encoder = default_registry().encoder("bundled")
    miner = BitextMiner(mode="intersection", k=2, threshold=1.2)
    for match in miner.mine(encoder.sentences(GERMAN), encoder.sentences(ENGLISH)):
        print(f"{match.score:.2f}  {GERMAN[match.source]}  {ENGLISH[match.target]}")


if __name__ == "__main__":
    main()
