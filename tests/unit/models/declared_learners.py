"""Learners as they would be declared, at least one of each kind, and samples for them: see test_learners."""

from __future__ import annotations

from typing import Any

import numpy as np

from headrace.models.cutoffs import CutOffs
from headrace.models.encoded import Encoded
from headrace.models.encoding import Bins, Cross, Number, OneHot
from headrace.models.kmeans import KMeans
from headrace.models.learner import Learner
from headrace.models.linear import LinearRegression
from headrace.models.logistic import LogisticRegression
from headrace.models.naive_bayes import NaiveBayes

FEATURES = ("recency", "frequency", "monetary")
LEARNERS: dict[str, Learner] = {
    "cutoffs": CutOffs(FEATURES, k=1.5),
    "encoded": Encoded((Number("recency"), Bins("frequency", 4), Number("monetary")), ridge=0.01),
    "encoded classes": Encoded((Number("recency"), Number("frequency"), Bins("monetary", 3)), "logistic", ridge=0.01),
    "encoded texts": Encoded(
        (Number("recency"), Cross("frequency", "monetary", most=4), OneHot("monetary")), ridge=0.01
    ),
    "encoded texts of classes": Encoded((Number("recency"), Number("frequency"), OneHot("monetary")), "logistic", 0.01),
    "kmeans": KMeans(k=3),
    "lasso": LinearRegression(FEATURES, ridge=0.01, lasso=0.01),
    "linear": LinearRegression(FEATURES),
    "logistic": LogisticRegression(FEATURES),
    "multinomial logistic": LogisticRegression(FEATURES, ridge=0.01, classes=3),
    "naive_bayes": NaiveBayes(FEATURES),
    "bernoulli naive Bayes": NaiveBayes(FEATURES, model="bernoulli"),
    "categorical naive Bayes": NaiveBayes(FEATURES, model="categorical", classes=3, categories=40),
    "ridge": LinearRegression(FEATURES, ridge=0.01),
}
KINDS = sorted(LEARNERS)
EACH = [kind for kind in KINDS if kind == LEARNERS[kind].kind]  # one of a kind, for what takes Spark long
# Columns of texts, by the kind that reads them, and what stands in them.
TEXTS = {"encoded texts": ("frequency", "monetary"), "encoded texts of classes": ("monetary",)}
WORDS = ("MO", "mo", "", "it's __THIS__ ${spark.app.name}", "9")
OF_EVENTS = [kind for kind in KINDS if LEARNERS[kind].sample == "event"]
OF_ENTITIES = [kind for kind in KINDS if LEARNERS[kind].sample == "entity"]


def rows(kind: str, seed: int = 1, count: int = 60, *, times: float = 1) -> np.ndarray:
    """Inputs, the numbers so many times what they usually are, and texts where the kind reads them."""
    return worded(kind, numbers(kind, seed, count) * times)


def worded(kind: str, values: np.ndarray) -> np.ndarray:
    """The rows with a word for every number in a column of texts."""
    if kind not in TEXTS:
        return values
    made = values.astype(object)
    for place in map(FEATURES.index, TEXTS[kind]):
        made[:, place] = [WORDS[int(abs(value)) % len(WORDS)] for value in values[:, place]]
    return made


def numbers(kind: str, seed: int = 1, count: int = 60) -> np.ndarray:
    """Three clouds of whole and broken numbers, some negative; whole numbers that the model takes for naive Bayes."""
    random = np.random.default_rng(seed)
    centres = np.array([[5.0, 40.0, 900.25], [200.0, 3.0, -20.5], [350.0, 12.0, 50_000.0]])
    values: np.ndarray = centres[np.arange(count) % 3] * random.uniform(0.8, 1.2, (count, 3))
    learner = LEARNERS[kind]
    if isinstance(learner, NaiveBayes):
        values = np.abs(values) // 7 % {"multinomial": 50, "bernoulli": 2, "categorical": 9}[learner.model]
    return values


def frame(spark: Any, values: np.ndarray, columns: tuple[str, ...] = FEATURES) -> Any:
    plain = [tuple(one if isinstance(one, str) else float(one) for one in row) for row in values]
    return spark.createDataFrame(plain, list(columns))


def columns(kind: str) -> tuple[str, ...]:
    """What a learner is fitted on, of an event its target last."""
    return FEATURES if kind in OF_ENTITIES else (*FEATURES, "target")


def samples(kind: str, seed: int = 1, count: int = 60) -> np.ndarray:
    values = numbers(kind, seed, count)
    if kind in OF_ENTITIES:
        return values
    noise = np.random.default_rng(seed + 100).normal(0, 5, count)
    told = values @ [2.0, -1.5, 0.001] + 30 + noise
    classes = getattr(LEARNERS[kind], "classes", None)
    if classes is not None:
        told = (told + noise * 100) // 200 % classes
    return np.column_stack([worded(kind, values), told])
