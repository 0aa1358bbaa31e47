#!/usr/bin/env python3
"""Writes the arrays beside it, as NumPy users would. What is here was written by NumPy 2.4.6."""
import os

import numpy as np

os.chdir(os.path.dirname(os.path.abspath(__file__)))
x = np.array([[1.5, 10], [np.nan, 20], [-3, 30], [4, 40], [5, 50]], dtype=np.float64)
y = np.array([0, 1, 0, 1, 1])
np.save("matrix.npy", np.column_stack([x, y]))
np.save("fortran.npy", np.asfortranarray(np.column_stack([x, y]).astype(np.float32)))
np.savez("stored.npz", features=x.astype(np.float32), label=y.astype(np.uint8))
np.savez_compressed("deflated.npz", x=x, y=y.astype(np.float32), columns=np.array(["größe", "b"]))
np.savez("text_label.npz", x=x[:, 1:].astype(np.int32), y=np.array(["down", "up", "down", "up", "ünten"]))
np.savez("bytes_label.npz", x=np.asfortranarray(x), y=np.array([b"no", b"yes", b"no", b"yes", b"yes"]))
np.savez("no_label.npz", x=x)
np.savez("short_label.npz", x=x, y=y[:4])
