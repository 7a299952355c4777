"""The two models of the demo, trained when it starts: seconds on one core, fixed seeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sklearn.ensemble import RandomForestRegressor
from sklearn.feature_extraction import DictVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from streams.demo.data import Row, Value

POSITIVE = ">50K"
NEGATIVE = "<=50K"


def train_bikes(rows: Sequence[Row]) -> Pipeline:
    """A random forest of the hourly rentals, from weather and calendar; it knows no year.

    That it cannot know how the service grows is what makes it go stale.
    """
    forest = RandomForestRegressor(100, min_samples_leaf=3, random_state=0)
    return _fit(make_pipeline(DictVectorizer(sparse=False), forest), rows)


def train_income(rows: Sequence[Row]) -> Pipeline:
    """A logistic regression of P(income > 50K). Deterministic: convex, and no random start."""
    scaler = StandardScaler(with_mean=False)  # one-hot columns stay sparse
    regression = LogisticRegression(max_iter=1000)
    return _fit(make_pipeline(DictVectorizer(), scaler, regression), rows)


def rentals(model: Pipeline, rows: Sequence[Row]) -> list[float]:
    """The predicted rentals of each row, to a tenth of a bike."""
    return [round(float(value), 1) for value in model.predict(_inputs(rows))]


def probabilities(model: Pipeline, rows: Sequence[Row]) -> list[float]:
    """P(income > 50K) of each row, to four decimals."""
    column = list(model.classes_).index(POSITIVE)
    return [round(float(value), 4) for value in model.predict_proba(_inputs(rows))[:, column]]


def _fit(model: Any, rows: Sequence[Row]) -> Pipeline:  # Any: scikit-learn is not typed
    return model.fit(_inputs(rows), [row.label for row in rows])


def _inputs(rows: Sequence[Row]) -> list[dict[str, Value]]:
    """Features as the vectorizer takes them: a word is one-hot, an absent one has no column."""
    return [{k: v for k, v in row.features.items() if v is not None} for row in rows]
