"""sentence-transformers behind plain FastAPI, as one would write it: run by a Python that has both.

    python benchmarks/service/peer_sentence_transformers.py MODEL LAYER PORT

The mean of the pieces at the last layer, which must be LAYER. It answers ``{"input": [texts]}``;
FastAPI calls the function in one of its 40 threads.
"""

from __future__ import annotations

import sys

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from sentence_transformers import SentenceTransformer, models


class Texts(BaseModel):
    input: list[str]


def main() -> None:
    model, layer, port = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    transformer = models.Transformer(model)
    if transformer.auto_model.config.num_hidden_layers != layer:
        sys.exit(f"the last layer of {model} is not {layer}")
    pooling = models.Pooling(transformer.get_word_embedding_dimension(), "mean")
    encoder = SentenceTransformer(modules=[transformer, pooling, models.Normalize()], device="cpu")
    app = FastAPI()

    @app.get("/ready")
    def ready() -> str:
        return "ready"

    @app.post("/v1/embeddings")
    def embed(texts: Texts) -> dict[str, list[dict[str, object]]]:
        vectors = encoder.encode(texts.input, show_progress_bar=False)
        return {"data": [{"index": i, "embedding": v.tolist()} for i, v in enumerate(vectors)]}

    uvicorn.run(app, port=port, log_level="warning")


if __name__ == "__main__":
    main()
