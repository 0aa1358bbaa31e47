#!/usr/bin/env python3
"""Makes intervals.json anew: closed intervals and tests, and what other implementations say of them.

  python tests/golden/metrics/intervals.py        needs numpy, scipy and statsmodels

DeLong's variance is computed by its definition, over all pairs; Tango's interval with a likelihood that is maximised by search;
the standard error of rmse by nudging the weight of each row. C does none of these so.
"""
import json
import pathlib

import numpy as np
import scipy
import scipy.optimize as opt
import scipy.special
import scipy.stats as st
import statsmodels
import statsmodels.api as sm
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.proportion import proportion_confint

RNG = np.random.default_rng(21)


def tango(b, c, n, level):
    z = st.norm.ppf(0.5 + level / 2)

    def score(d):
        # b ~ p + d, c ~ p; p maximises the likelihood under the difference d
        low, high = max(0, -d), (1 - d) / 2

        def minus(p):
            parts = ((b, p + d), (c, p), (n - b - c, 1 - 2 * p - d))
            return -sum(k * np.log(max(q, 1e-300)) for k, q in parts if k)

        p = opt.minimize_scalar(minus, bounds=(low, high), method="bounded", options={"xatol": 1e-13}).x
        for at in (low, high):
            p = at if minus(at) < minus(p) else p
        spread = n * (2 * p + d - d * d)
        return (b - c - n * d) / np.sqrt(max(spread, 1e-300))

    def end(goal):
        return opt.brentq(lambda d: score(d) - goal, -1 + 1e-9, 1 - 1e-9, xtol=1e-12)

    return [end(z), end(-z)]


def delong(y, a, b, level):
    pos, neg = y == 1, y == 0

    def psi(s):
        x, w = s[pos][:, None], s[neg][None, :]
        return (x > w) + 0.5 * (x == w)

    pb = psi(b)
    pa = psi(a) if a is not None else np.zeros_like(pb)
    d = pb - pa
    v10, v01 = d.mean(1), d.mean(0)
    spread = np.sqrt(np.cov(v10) / len(v10) + np.cov(v01) / len(v01))
    z = st.norm.ppf(0.5 + level / 2)
    if a is None:  # on the scale of log odds
        ends = scipy.special.logit(d.mean()) + np.array([-z, z]) * spread / (d.mean() * (1 - d.mean()))
        return [*scipy.special.expit(ends), None]
    p = 2 * st.norm.sf(abs(d.mean()) / spread) if spread > 0 else 1.0 if d.mean() == 0 else 0.0
    return [max(d.mean() - z * spread, -1), min(d.mean() + z * spread, 1), p]


def accuracy(y, a, b, level):
    right_b = (b > 0.5) == (y == 1)
    n = len(y)
    if a is None:
        return [*proportion_confint(right_b.sum(), n, 1 - level, "wilson"), None]
    right_a = (a > 0.5) == (y == 1)
    gained, lost = int((right_b & ~right_a).sum()), int((right_a & ~right_b).sum())
    return [*tango(gained, lost, n, level), mid_p(gained, lost)]


def mid_p(b, c):
    n, k = b + c, min(b, c)
    if n == 0:
        return 1.0
    return float(min(1, 2 * st.binom.cdf(k, n, 0.5) - st.binom.pmf(k, n, 0.5))) if b != c else float(
        1 - st.binom.pmf(k, n, 0.5))


def logloss(y, p):
    p = np.clip(p, 1e-15, 1 - 1e-15)
    return -np.where(y == 1, np.log(p), np.log(1 - p))


LOSSES = {"logloss": logloss, "brier": lambda y, p: (p - y) ** 2, "mae": lambda y, p: abs(p - y)}


def mean(name):
    def of(y, a, b, level):
        d = LOSSES[name](y, b) - (LOSSES[name](y, a) if a is not None else 0)
        half = st.t.ppf(0.5 + level / 2, len(d) - 1) * st.sem(d)
        low, high = d.mean() - half, d.mean() + half
        return [max(low, 0) if a is None else low, high, None]
    return of


def rmse(y, a, b, level):
    n, nudge = len(y), 1e-6

    def at(w):
        sides = [np.sqrt(np.average((p - y) ** 2, weights=w)) for p in (b, a) if p is not None]
        return sides[0] - (sides[1] if a is not None else 0)

    ones = np.ones(n)
    moved = np.array([(at(ones + nudge * (np.arange(n) == i)) - at(ones - nudge * (np.arange(n) == i))) / (2 * nudge)
                      for i in range(n)])
    spread = np.sqrt((moved ** 2).sum() * n / (n - 1))
    t = st.t.ppf(0.5 + level / 2, n - 1)
    return [at(ones) - t * spread, at(ones) + t * spread, None]


METRICS = {"binary": {"auc": delong, "accuracy": accuracy, "logloss": mean("logloss"), "brier": mean("brier")},
           "regression": {"mae": mean("mae"), "rmse": rmse}}


def binary(n, places, share):
    y = (RNG.random(n) < share).astype(int)
    y[:2], y[2:4] = 0, 1
    scores = [np.round(np.clip(0.3 * y + RNG.normal(0.35, 0.25, n), 0.01, 0.99), places) for _ in range(2)]
    return {"task": "binary", "y": y, "a": scores[0], "b": np.round(0.5 * scores[0] + 0.5 * scores[1], places)}


def values(n):
    y = RNG.normal(10, 3, n)
    return {"task": "regression", "y": np.round(y, 2).astype(np.float32).astype(float),
            "a": np.round(y + RNG.normal(0, 2, n), 3), "b": np.round(y + RNG.normal(0.1, 1.8, n), 3)}


def clustered(n, k):
    t = values(n)
    g = RNG.integers(0, k, n)
    t["b"] = np.round(t["b"] + RNG.normal(0, 1, k)[g], 3)
    t["cluster"] = g
    d = abs(t["b"] - t["y"]) - abs(t["a"] - t["y"])
    fit = sm.OLS(d, np.ones(n))
    effect = (fit.fit(cov_type="cluster", cov_kwds={"groups": g, "use_correction": False}).cov_params()[0, 0]
              / fit.fit(cov_type="HC0").cov_params()[0, 0])
    t["effective"] = n / max(1, effect)
    return t


def main():
    tables = {"ties": binary(200, 1, 0.4), "fine": binary(300, 6, 0.5), "rare": binary(400, 3, 0.03),
              "small": binary(14, 2, 0.5), "same": binary(60, 2, 0.5), "values": values(120),
              "clustered": clustered(240, 12)}
    tables["same"]["b"] = tables["same"]["a"]
    cases = []
    for name, t in tables.items():
        for metric, of in METRICS[t["task"]].items():
            for level in (0.9, 0.95, 0.999) if "cluster" not in t else ():
                for a in (t["a"], None):
                    cases.append([name, metric, level, a is not None, *of(t["y"], a, t["b"], level)])
    scalars = [["normal_quantile", [p], float(st.norm.ppf(p))] for p in
               (1e-300, 1e-12, 1e-4, 0.025, 0.3, 0.5, 0.8, 0.975, 0.9999, 1 - 1e-12)]
    scalars += [["student_quantile", [p, f], float(st.t.ppf(p, f))] for p in (0.6, 0.95, 0.975, 0.9995) for f in
                (9, 29, 299, 2999)]
    scalars += [[f"wilson_{end}", [k, n, level], float(proportion_confint(k, n, 1 - level, "wilson")[end == "high"])]
                for k, n in ((0, 1), (1, 1), (0, 30), (7, 30), (30, 30), (299, 300), (1500, 3000)) for level in (0.9, 0.99)
                for end in ("low", "high")]
    scalars += [[f"tango_{end}", [b, c, n, level], float(tango(b, c, n, level)[end == "high"])]
                for b, c, n in ((1, 0, 10), (5, 5, 30), (12, 3, 30), (0, 9, 300), (90, 60, 300), (40, 41, 3000))
                for level in (0.9, 0.99) for end in ("low", "high")]
    for b, c in ((0, 1), (3, 3), (1, 9), (12, 30), (400, 350), (3000, 3200)):
        scalars.append(["mcnemar_exact", [b, c], float(min(1, mcnemar([[0, b], [c, 0]], exact=True).pvalue))])
        scalars.append(["mcnemar_mid", [b, c], mid_p(b, c)])
        if b != c:  # there statsmodels counts the correction as a difference
            scalars.append(["mcnemar_continuity", [b, c], float(mcnemar([[0, b], [c, 0]], exact=False).pvalue)])
    out = {"by": f"SciPy {scipy.__version__}, statsmodels {statsmodels.__version__}, NumPy {np.__version__}",
           "scalars": scalars, "cases": cases,
           "tables": [{"name": k, **{m: v.tolist() if hasattr(v, "tolist") else v for m, v in t.items()}}
                      for k, t in tables.items()]}
    path = pathlib.Path(__file__).with_name("intervals.json")
    lines = [f'"{k}":[\n' + ",\n".join(json.dumps(x, separators=(",", ":")) for x in v) + "]" for k, v in out.items() if k != "by"]
    path.write_text('{"by":' + json.dumps(out["by"]) + ",\n" + ",\n".join(lines) + "}\n")
    print(len(scalars), "scalars,", len(cases), "intervals")


if __name__ == "__main__":
    main()
