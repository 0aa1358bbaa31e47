#!/usr/bin/env python3
"""Makes tables.json anew: random tables of predictions, and what other implementations say of them.

  build/venv/bin/python tests/golden/metrics/make.py

Every figure is scikit-learn's or NumPy's; what has no implementation there (smape, ece, cost, map with ties) is computed here
another way than in C: by brute force over all orders of a tie, by the definition, bin by bin.
"""
import itertools
import json
import math
import pathlib
import warnings

import numpy as np
import scipy
import sklearn
import sklearn.metrics as sk

warnings.simplefilter("ignore")
RNG = np.random.default_rng(20)
MOST_ORDERS = 300  # of the ties of a group, tried one by one


def binary(rows, places, share, fine=False):
    """places: so few decimals that scores tie."""
    y = (RNG.random(rows) < share).astype(int)
    p = np.round(np.clip(0.55 * RNG.random(rows) + 0.25 * y + 0.1 * RNG.normal(size=rows), 0, 1), places)
    if fine:  # no float32: neighbours that differ in the last bits of a double
        p = np.clip(p + 1e-12 * RNG.integers(-3, 4, rows), 0, 1)
    return {"task": "binary", "k": 1, "p": p, "y": y, "w": np.round(3 * RNG.random(rows), 2),
            "value": np.round(100 * RNG.random(rows), 2), "group": RNG.integers(0, max(1, rows // 12), rows)}


def several(rows, k, places, missing=None):
    y = RNG.integers(0, k, rows)
    if missing is not None:
        y[y == missing] = (missing + 1) % k
    p = RNG.dirichlet(np.ones(k), rows) + 0.8 * np.eye(k)[y] * RNG.random((rows, 1))
    p = np.round(p / p.sum(1, keepdims=True), places)
    p[:, -1] = np.clip(np.round(1 - p[:, :-1].sum(1), places), 0, 1)
    return {"task": "multiclass", "k": k, "p": p, "y": y, "w": np.round(3 * RNG.random(rows), 2),
            "value": np.round(100 * RNG.random(rows), 2)}


def values(rows, scale, positive):
    y = RNG.gamma(2, scale, rows) if positive else RNG.normal(0, scale, rows)
    p = y * (1 + 0.2 * RNG.normal(size=rows))
    if positive:
        y, p = np.maximum(y, 0.01), np.maximum(p, 0.01 * scale)
    return {"task": "regression", "k": 1, "p": np.round(p, 3), "y": np.round(y, 2), "w": np.round(3 * RNG.random(rows), 2)}


def grades(rows, groups, places):
    y = RNG.integers(0, 4, rows)
    return {"task": "regression", "k": 1, "p": np.round(y / 4 + RNG.normal(0, 0.6, rows), places), "y": y,
            "w": np.round(0.1 + 3 * RNG.random(rows), 2), "group": RNG.integers(0, groups, rows)}


TABLES = {
    "binary": binary(240, 2, 0.4),
    "binary, fine scores": binary(200, 2, 0.5, fine=True),
    "binary, rare": binary(400, 3, 0.03),
    "binary, few scores": binary(120, 1, 0.6),
    "three classes": several(200, 3, 3),
    "five classes, one without rows": several(150, 5, 3, missing=2),
    "twenty classes": several(300, 20, 4),
    "values": values(200, 20.0, False),
    "values above 0": values(200, 3.0, True),
    "grades": grades(72, 12, 1),
    "grades, few ties": grades(240, 20, 2),
}
for t in TABLES.values():
    t["p"] = np.asarray(t["p"], float)
    t["y32"] = np.asarray(t["y"], np.float32).astype(float)  # labels are float32 in C


# ---- what to expect ----

def answers(t):
    return (t["p"] > 0.5).astype(int) if t["k"] == 1 else t["p"].argmax(1)


def one_hot(t):
    return np.eye(t["k"])[t["y"]]


def ranked(t, w, score):
    if len(set(t["y"])) < max(2, t["k"]):
        return None
    if t["k"] == 1:
        return score(t["y"], t["p"], sample_weight=w)
    return np.mean([score(one_hot(t)[:, c], t["p"][:, c], sample_weight=w) for c in range(t["k"])])


def logloss(t, w):
    if t["k"] == 1:
        return sk.log_loss(t["y"], t["p"], sample_weight=w, labels=[0, 1])
    p = np.clip(t["p"][np.arange(len(t["y"])), t["y"]], 1e-15, 1 - 1e-15)
    return np.average(-np.log(p), weights=w)


def brier(t, w):
    if t["k"] == 1:
        return sk.brier_score_loss(t["y"], t["p"], sample_weight=w)
    return np.average(((t["p"] - one_hot(t)) ** 2).sum(1), weights=w)


def ece(t, w, bins):
    w = np.ones(len(t["y"])) if w is None else w
    sure, right = (t["p"], t["y"] == 1) if t["k"] == 1 else (t["p"].max(1), answers(t) == t["y"])
    bin_of = np.minimum((sure * bins).astype(int), bins - 1)
    total = 0
    for b in range(bins):
        here = bin_of == b
        if w[here].sum() > 0:
            gap = np.average(sure[here], weights=w[here]) - np.average(right[here], weights=w[here])
            total += w[here].sum() / w.sum() * abs(gap)
    return total


def costs(n):
    fixed = [[0.0 if i == j else float(1 + (3 * i + j) % 5) for j in range(n)] for i in range(n)]
    by_value = [[float(i != j and (i + j) % 3 == 0) for j in range(n)] for i in range(n)]
    return fixed, by_value


def cost(t, w):
    fixed, by_value = costs(max(2, t["k"]))
    return np.average([fixed[y][a] + by_value[y][a] * v for y, a, v in zip(t["y"], answers(t), t["value"])], weights=w)


def by_group(t, w, score):
    scores, weights = [], []
    for g in np.unique(t["group"]):
        here = t["group"] == g
        v = score(t["y32"][here], t["p"][here])
        if not math.isnan(v):
            scores.append(v)
            weights.append(1 if w is None else w[here].mean())
    return np.average(scores, weights=weights)


def ndcg(y, p, k):
    if y.max() <= 0:
        return math.nan
    return 1.0 if len(y) == 1 else sk.ndcg_score([y], [p], k=k)


def average_precision(relevant, k):
    hits = np.cumsum(relevant)
    return sum(hits[i] / (i + 1) for i in range(min(k, len(relevant))) if relevant[i]) / min(k, hits[-1])


def mean_precision(y, p, k):
    """Over all orders of every tie."""
    if not (y > 0).any():
        return math.nan
    ties = [np.flatnonzero(p == s) for s in sorted(set(p), reverse=True)]
    if math.prod(math.factorial(len(x)) for x in ties) > MOST_ORDERS:
        raise OverflowError
    orders = itertools.product(*[itertools.permutations(x) for x in ties])
    return np.mean([average_precision((y > 0)[np.concatenate(o)], k or len(y)) for o in orders])


def of_classes(t, w):
    y, a = t["y"], answers(t)
    yield "logloss", logloss(t, w)
    yield "accuracy", sk.accuracy_score(y, a, sample_weight=w)
    yield "balanced_accuracy", sk.balanced_accuracy_score(y, a, sample_weight=w)
    yield "mcc", sk.matthews_corrcoef(y, a, sample_weight=w)
    yield "brier", brier(t, w)
    yield "cost", cost(t, w)
    for bins in (15, 20, 7):
        yield "ece" if bins == 15 else f"ece({bins})", ece(t, w, bins)
    yield "auc", ranked(t, w, sk.roc_auc_score)
    yield "auc_pr", ranked(t, w, sk.average_precision_score)
    for kind in ("binary" if t["k"] == 1 else "macro", "micro", "macro", "weighted"):
        word = "" if kind == "binary" else kind
        args = {"average": kind, "sample_weight": w, "zero_division": np.nan}
        for name, beta, value in (("precision", "", sk.precision_score(y, a, **args)), ("recall", "", sk.recall_score(y, a, **args)),
                                  ("f1", "", sk.f1_score(y, a, **args)), ("fbeta", "2", sk.fbeta_score(y, a, beta=2, **args)),
                                  ("fbeta", "0.5", sk.fbeta_score(y, a, beta=0.5, **args))):
            given = " ".join(x for x in (beta, word) if x)
            yield f"{name}({given})" if given else name, value
            if kind == "macro" and t["k"] > 1:  # the default
                yield f"{name}({beta})" if beta else name, value


def of_values(t, w):
    y, p = t["y32"], t["p"]
    is_positive = (y > 0).all() and (p > 0).all()
    yield "mae", sk.mean_absolute_error(y, p, sample_weight=w)
    yield "rmse", sk.root_mean_squared_error(y, p, sample_weight=w)
    yield "r2", sk.r2_score(y, p, sample_weight=w)
    yield "smape", np.average(2 * np.abs(p - y) / np.maximum(np.abs(p) + np.abs(y), 1e-300), weights=w)
    yield "quantile(0.9)", sk.mean_pinball_loss(y, p, alpha=0.9, sample_weight=w)
    yield "quantile(0.25)", sk.mean_pinball_loss(y, p, alpha=0.25, sample_weight=w)
    yield "mape", sk.mean_absolute_percentage_error(y, p, sample_weight=w) if (y != 0).all() else None
    yield "poisson_deviance", sk.mean_poisson_deviance(y, p, sample_weight=w) if is_positive else None
    yield "gamma_deviance", sk.mean_gamma_deviance(y, p, sample_weight=w) if is_positive else None


def of_groups(t, w):
    for k in (None, 5, 3):
        at = f"@{k}" if k else ""
        yield "ndcg" + at, by_group(t, w, lambda y, p, k=k: ndcg(y, p, k))
        try:
            yield "map" + at, by_group(t, w, lambda y, p, k=k: mean_precision(y, p, k))
        except OverflowError:
            pass  # too many orders to try


def expected(t, w):
    yield from of_values(t, w) if t["task"] == "regression" else of_classes(t, w)
    if "group" in t:
        yield from of_groups(t, w)


def main():
    tables, cases = [], []
    for name, t in TABLES.items():
        fixed, by_value = costs(max(2, t["k"]))
        tables.append({"name": name, "task": t["task"], "k": t["k"], "p": t["p"].ravel().tolist(), "y": t["y"].tolist(),
                       "fixed": sum(fixed, []), "by_value": sum(by_value, []),
                       **{key: t[key].tolist() for key in ("w", "value", "group") if key in t}})
        for w in (None, t["w"]):
            cases += [[name, metric, w is not None, None if v is None else float(v)]
                      for metric, v in dict(expected(t, w)).items()]
    head = {"by": f"scikit-learn {sklearn.__version__}, SciPy {scipy.__version__}, NumPy {np.__version__}"}
    text = json.dumps({**head, "tables": tables, "cases": cases}, separators=(",", ":"))
    text = text.replace('{"name"', '\n{"name"').replace('["', '\n["')
    pathlib.Path(__file__).with_name("tables.json").write_text(text + "\n", encoding="ascii")
    print(len(tables), "tables,", len(cases), "cases")


main()
