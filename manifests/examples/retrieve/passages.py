#!/usr/bin/env python3
"""Finds passages of Python's own help, in two steps, each a model of its own.

    passages.py fit FOLDER          fits both models
    passages.py retrieve FOLDER     serves {"query"} -> {"passages": the 20 nearest by their words}
    passages.py rerank FOLDER       serves {"query", "passages"} -> {"passages": the 3 nearest by what they mean}

Words are weighed by TF-IDF; meaning is the passage's place in the 100 main directions of all passages (latent semantic
analysis). Needs scikit-learn, FastAPI and uvicorn; serves on port 8080.
"""

import argparse
import json
import os
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import joblib
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.pipeline import Pipeline, make_pipeline

NEAREST = 20
BEST = 3


def passages_of(text: str) -> list[str]:
    """Cut a text into its paragraphs."""
    return [" ".join(part.split()) for part in text.split("\n\n") if len(part.split()) > 12]


def fit(folder: Path) -> None:
    """Fit both models."""
    passages = [{"topic": topic, "text": text} for topic in sorted(topics) for text in passages_of(topics[topic])]
    texts = [passage["text"] for passage in passages]
    words = TfidfVectorizer(stop_words="english", sublinear_tf=True)
    matrix = words.fit_transform(texts)
    meaning = make_pipeline(TfidfVectorizer(stop_words="english"), TruncatedSVD(100, random_state=0)).fit(texts)
    folder.mkdir()
    joblib.dump({"passages": passages, "words": words, "matrix": matrix}, folder / "retrieve.joblib")
    joblib.dump(meaning, folder / "rerank.joblib")
    print(f"{len(passages)} passages")  # noqa: T201
    if results := os.environ.get("RONDO_RESULTS"):
        Path(results).write_text(json.dumps({"passages": len(passages)}))


def retrieve(model: dict[str, Any], asked: dict[str, Any]) -> list[dict[str, Any]]:
    """Give the passages that share most words with a query."""
    near = cosine_similarity(model["words"].transform([asked["query"]]), model["matrix"])[0]
    return [{**model["passages"][i], "score": float(near[i])} for i in near.argsort()[::-1][:NEAREST]]


def rerank(model: Pipeline, asked: dict[str, Any]) -> list[dict[str, Any]]:
    """Put passages into the order of how near in meaning they are to a query."""
    query, *places = model.transform([asked["query"], *(passage["text"] for passage in asked["passages"])])
    near = cosine_similarity([query], places)[0]
    return [{**asked["passages"][i], "score": float(near[i])} for i in near.argsort()[::-1][:BEST]]


def serve(folder: Path, name: str) -> None:
    """Serve one of the models."""
    import uvicorn  # noqa: PLC0415 (not needed to fit)
    from fastapi import Body, FastAPI  # noqa: PLC0415

    model = joblib.load(folder / f"{name}.joblib")
    step = {"retrieve": retrieve, "rerank": rerank}[name]
    app = FastAPI()

    @app.get("/")
    def ready() -> dict[str, str]:
        return {"serves": name}

    @app.post("/")
    def answer(asked: dict[str, Any] = Body()) -> dict[str, Any]:  # noqa: B008 (so FastAPI wants it)
        return {"passages": step(model, asked)}

    uvicorn.run(app, host="0.0.0.0", port=8080, access_log=False)  # noqa: S104 (in a pod)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Finds passages of Python's own help.")
    parser.add_argument("command", choices=["fit", "retrieve", "rerank"])
    parser.add_argument("folder", type=Path)
    given = parser.parse_args()
    if given.command == "fit":
        fit(given.folder)
    else:
        serve(given.folder, given.command)
