"""The scores that evaluations share. scikit-learn and scipy carry no types: this module is their typed face."""
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportMissingImports=false

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def accuracy(logits: np.ndarray, labels: np.ndarray) -> float:
    """Share of rows whose largest logit is the label's."""
    return float((logits.argmax(-1) == labels).mean())


def probe_accuracy(features: np.ndarray, labels: np.ndarray) -> float:
    """Accuracy of a logistic probe trained on the even rows and tested on the odd ones."""
    from sklearn.linear_model import LogisticRegression

    even = np.arange(len(labels)) % 2 == 0
    probe = LogisticRegression(max_iter=300).fit(features[even], labels[even])
    return float(probe.score(features[~even], labels[~even]))


def folded_probe_accuracy(features: np.ndarray, labels: np.ndarray, folds: int = 5) -> float:
    """Mean accuracy of a regularised logistic probe over `folds` folds."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_score

    return float(cross_val_score(LogisticRegression(max_iter=500, C=0.01), features, labels, cv=folds).mean())


def auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Area under the receiver operating characteristic."""
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(labels, scores))


def f1(labels: np.ndarray, predicted: np.ndarray) -> float:
    """Harmonic mean of precision and recall of the positive class."""
    from sklearn.metrics import f1_score

    return float(f1_score(labels, predicted))


def equal_error_rate(same: np.ndarray, scores: np.ndarray) -> float:
    """The rate at which false accepts and false rejects are equal: 0 is perfect."""
    from sklearn.metrics import roc_curve

    accepted, found, _ = roc_curve(same, scores)
    rejected = 1 - found
    at = np.argmin(np.abs(accepted - rejected))
    return float((accepted[at] + rejected[at]) / 2)


def spearman(left: Sequence[float], right: Sequence[float]) -> float:
    """Rank correlation."""
    from scipy.stats import spearmanr

    return float(np.asarray(spearmanr(left, right))[0])


def pearson(left: np.ndarray, right: np.ndarray) -> float:
    """Linear correlation."""
    return float(np.corrcoef(left, right)[0, 1])


def cosines(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Cosine of each row of `left` with the same row of `right`."""
    return (left * right).sum(1) / np.linalg.norm(left, axis=1) / np.linalg.norm(right, axis=1)


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Logarithm of the softmax along the last axis."""
    shifted = logits - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def edit_distance(left: Sequence[str], right: Sequence[str]) -> int:
    """Fewest insertions, deletions and substitutions that turn one sequence into the other (Levenshtein)."""
    row = list(range(len(right) + 1))
    for index, item in enumerate(left, start=1):
        diagonal, row[0] = row[0], index
        for column, other in enumerate(right, start=1):
            diagonal, row[column] = row[column], min(row[column] + 1, row[column - 1] + 1, diagonal + (item != other))
    return row[-1]
