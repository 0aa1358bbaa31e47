#!/usr/bin/env python3
"""Makes the models of this folder anew and prints XGBoost's own answers to the four rows of the test."""
import numpy as np
import xgboost as xgb

rng = np.random.default_rng(0)
X = rng.random((300, 4)).astype("f4")
X[:, 3] = rng.integers(0, 6, 300)
label = ((X[:, 0] > 0.5) ^ np.isin(X[:, 3], [1, 4])).astype(int)
third = (X[:, 0] * 3).astype(int)
rows = np.array([[0.9, 0.2, 0.1, 1], [0.1, 0.2, 0.9, 4], [0.7, 0.3, 0.2, 0], [np.nan, 0.3, 0.2, 2]], "f4")


def save(name, booster, ext, data):
    booster.save_model(f"{name}.{ext}")
    print(name, ext, ["%.9g" % v for v in booster.predict(data).ravel()])


for name, objective, y, more, ext in [
    ("binary", "binary:logistic", label, {}, "ubj"),
    ("binary", "binary:logistic", label, {}, "json"),
    ("several", "multi:softprob", third, {"num_class": 3, "base_score": 0.5}, "ubj"),
    ("value", "reg:squarederror", X[:, 0] * 20 + 100, {}, "ubj"),
    ("dart", "binary:logistic", label, {"booster": "dart", "rate_drop": 0.3, "seed": 3}, "json"),
    ("linear", "reg:squarederror", X[:, 0], {"booster": "gblinear"}, "ubj"),
    ("intercepts", "multi:softprob", third, {"num_class": 3}, "ubj"),
]:
    params = {"objective": objective, "max_depth": 2, "verbosity": 0, **more}
    save(name, xgb.train(params, xgb.DMatrix(X, y), 3), ext, xgb.DMatrix(rows))

types = {"feature_types": ["q", "q", "q", "c"], "enable_categorical": True}
params = {"tree_method": "hist", "max_depth": 3, "objective": "binary:logistic", "max_cat_to_onehot": 1}
save("categories", xgb.train(params, xgb.DMatrix(X, label, **types), 3), "ubj", xgb.DMatrix(rows, **types))
