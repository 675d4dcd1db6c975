"""What learners of classes share: a probability of each class, and the likeliest one.

A class is a whole number from 0 on. Everything is made of scores, one a class: the logarithms of the probabilities but
for a constant that all classes share.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from headrace.errors import InputError
from headrace.models.expressions import column, literal, number
from headrace.models.moments import Floats

# Source: W. J. Cody and W. Waite, Software Manual for the Elementary Functions (1980): ln 2 in two parts, of which the
# first times a small whole number is exact.
_LN2_HIGH, _LN2_LOW = 0.693359375, -2.121944400546905827679e-4
_TERMS = 13  # of the series: beyond ln 2 / 2 to the 14th over 14! nothing is left in a double
_UNDERFLOW = -800.0


def class_outputs(classes: int) -> tuple[str, ...]:
    """Names of the outputs: each class's probability, and the likeliest class.

    >>> class_outputs(2)
    ('probability_0', 'probability_1', 'prediction')
    """
    return (*(f"probability_{each}" for each in range(classes)), "prediction")


def exp(values: Floats) -> Floats:
    """e to the values, each at most 0, to the last bit or two and the same bits on every machine.

    NumPy's own differs in the last bit by processor, and so would what samples contribute.

    >>> float(abs(exp(np.array([-0.3])) / np.exp(-0.3) - 1).max()) < 1e-15
    True
    """
    values = np.maximum(values, _UNDERFLOW)
    power = np.rint(values * (1 / np.log(2.0)))
    rest = values - power * _LN2_HIGH - power * _LN2_LOW
    series = np.ones_like(values)
    for term in range(_TERMS, 0, -1):
        series *= rest / term
        series += 1
    whole: Floats = np.ldexp(series, np.nan_to_num(power).astype(np.int32))
    return whole


def probabilities(scores: Floats) -> Floats:
    """samples x classes -> the probability of each class, the same bits for a row alone and among others."""
    with np.errstate(invalid="ignore"):  # an infinite score has no probability: NaN
        shares = exp(scores - scores.max(axis=1, keepdims=True))
    # Class by class: NumPy adds up a row in another order than rows.
    total = np.zeros(len(shares))
    for each in range(shares.shape[1]):
        total += shares[:, each]
    made: Floats = shares / total[:, None]
    return made


def told(scores: Floats) -> dict[str, npt.NDArray[Any]]:
    """The outputs from samples x classes: probabilities, float64, and the class, int32, the first of equal ones."""
    names = class_outputs(scores.shape[1])
    likely = probabilities(scores)
    best = np.argmax(scores, axis=1).astype(np.int32)
    return {**{name: likely[:, each] for each, name in enumerate(names[:-1])}, names[-1]: best}


def told_sql(classes: int, difference: Callable[[int, int], str]) -> dict[str, str]:
    """Spark SQL of the outputs. difference: of the scores of two classes, or null, as SQL."""
    *names, best = class_outputs(classes)
    if classes == 2:
        # One difference, so that it is computed once.
        more = difference(1, 0)
        one = f"1.0D / (1.0D + exp(-({more})))"
        return {names[0]: f"1.0D - {one}", names[1]: one, best: f"CAST({more} > 0.0D AS INT)"}
    made = {}
    for each, name in enumerate(names):
        others = (f"exp({difference(other, each)})" for other in range(classes) if other != each)
        made[name] = f"1.0D / (1.0D + {' + '.join(others)})"
    leads = []
    for each in range(classes - 1):
        lead = " AND ".join(f"{difference(other, each)} <= 0.0D" for other in range(each + 1, classes))
        leads.append(f"WHEN {lead} THEN {each}")
    likeliest = f"CASE {' '.join(leads)} ELSE {classes - 1} END"
    return made | {best: f"CASE WHEN {difference(0, 1)} IS NOT NULL THEN {likeliest} END"}


def is_class(values: npt.NDArray[np.float64], classes: int) -> npt.NDArray[np.bool_]:
    """Which values are one of so many classes."""
    with np.errstate(invalid="ignore"):
        known: npt.NDArray[np.bool_] = (values >= 0) & (values < classes) & (np.rint(values) == values)
    return known


def is_class_sql(target: str, classes: int) -> str:
    """The same of a column, as SQL.

    >>> is_class_sql("left", 2)
    'CAST(`left` AS DOUBLE) IN (0.0D, 1.0D)'
    """
    return f"{number(target)} IN ({', '.join(literal(each) for each in range(classes))})"


def require_every_class(learner: str, target: str, counts: Sequence[int]) -> None:
    """InputError, naming the first, for a class without a sample in training: nothing can be told of it."""
    if not all(counts):
        raise InputError(
            f"{learner} cannot learn {target!r}",
            found=f"no sample of class {list(counts).index(0)}; samples by class {list(counts)}",
            expected=f"samples of every class, 0 to {len(counts) - 1}",
            do="number classes from 0 on in `prepare`, or declare fewer `classes`",
        )


def fit_metrics(outputs: Mapping[str, str], target: str, classes: int) -> dict[str, str]:
    """SQL aggregates over samples: the mean log loss (no probability below 1e-15), and the share told right."""
    *names, best = class_outputs(classes)
    cases = " ".join(f"WHEN {each} THEN {outputs[name]}" for each, name in enumerate(names))
    return {
        "log_loss": f"avg(-ln(greatest(CASE {column(target)} {cases} END, 1e-15D)))",
        "accuracy": f"avg(CAST({outputs[best]} = {column(target)} AS DOUBLE))",
    }
