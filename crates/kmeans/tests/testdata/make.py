"""Writes the fixtures of this directory with scikit-learn (1.9.1 made the ones checked in) and
pyarrow (26.0.1).

Run it here: `python3 make.py`. iris and digits are the copies that come with scikit-learn (from
the UCI repository, CC BY 4.0); blobs are made up. For each: the points, the start, and what
sklearn.cluster.KMeans makes of them with exact Lloyd iterations until nothing changes.
"""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits, load_iris, make_blobs

blobs, _ = make_blobs(n_samples=3000, n_features=8, centers=12, cluster_std=4.0, random_state=5)
sets = {
    "iris": (load_iris().data, 3, "%g"),
    "digits": (load_digits().data, 10, "%g"),
    "blobs": (np.round(blobs, 4), 12, "%.4f"),
}
expected = {}
for name, (points, k, digits) in sets.items():
    start = points[np.random.RandomState(1).choice(len(points), k, replace=False)]
    found = KMeans(n_clusters=k, init=start, n_init=1, max_iter=300, tol=0).fit(points)
    np.savetxt(f"{name}.csv", points, fmt=digits, delimiter=",")
    np.savetxt(f"{name}-start.csv", start, fmt=digits, delimiter=",")
    expected[name] = {
        "k": k,
        "inertia": found.inertia_,
        "iterations": int(found.n_iter_),
        "centers": found.cluster_centers_.tolist(),
        "counts": np.bincount(found.labels_).tolist(),
    }
with open("expected.json", "w") as file:
    json.dump(expected, file, indent=1)
    file.write("\n")

# Parquet: four row groups, a column that holds no numbers, a null.
columns = {name: points for name, points in zip("abcd", load_iris().data.T)}
pq.write_table(pa.table(columns), "iris.parquet", row_group_size=40)
pq.write_table(pa.table({"x": [1.0, 2.0], "name": ["a", "b"]}), "names.parquet")
pq.write_table(pa.table({"x": [1.0, 2.0, 3.0, None], "y": [1, 2, 3, 4]}), "null.parquet")
