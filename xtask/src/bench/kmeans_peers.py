"""What the k-means benchmark compares with: one command, one JSON line.

make POINTS START ROWS DIMENSION K SPREAD csv|-   writes f32 blobs and K of their rows as .npy
sklearn|faiss POINTS START ITERATIONS       times fits; sklearn-whole and faiss-whole do one fit
spark POINTS.csv K ITERATIONS               times Spark's, from starts of its own
"""

import json
import sys
import time


def make(points, start, rows, dimension, k, spread, text):
    import numpy as np

    random = np.random.RandomState(3)
    rows, dimension, k = int(rows), int(dimension), int(k)
    places = random.uniform(-10, 10, (k, dimension))
    if float(spread) > 0:
        noise = random.standard_normal((rows, dimension)) * float(spread)
        x = places[random.randint(k, size=rows)] + noise
    else:
        x = random.uniform(0, 1, (rows, dimension))
    x = x.astype(np.float32)
    np.save(points, x)
    if text == "csv":
        np.savetxt(points.replace(".npy", ".csv"), x, fmt="%.6f", delimiter=",")
    np.save(start, x[random.choice(rows, k, replace=False)])
    return {}


def timed(work):
    begun = time.perf_counter()
    found = work()
    return time.perf_counter() - begun, found


def with_sklearn(x, start, iterations):
    from sklearn.cluster import KMeans

    model = KMeans(len(start), init=start, n_init=1, max_iter=iterations, tol=0)
    seconds, found = timed(lambda: model.fit(x))
    return seconds, found.inertia_, found.n_iter_


def with_faiss(x, start, iterations):
    import faiss

    everything = dict(max_points_per_centroid=1 << 30, min_points_per_centroid=1)
    model = faiss.Kmeans(x.shape[1], len(start), niter=iterations, **everything)
    seconds, _ = timed(lambda: model.train(x, init_centroids=start))
    return seconds, model, iterations


def fits(how, points, start, iterations, whole):
    import numpy as np

    x, start, iterations = np.load(points), np.load(start), int(iterations)
    run = with_sklearn if how == "sklearn" else with_faiss
    if not whole:
        run(x, start, 1)
        short, _, few = run(x, start, 2)
    seconds, found, many = run(x, start, iterations)
    if how == "faiss":
        distances, _ = found.assign(x)
        found = float(np.sum(distances, dtype=np.float64))
    line = {"seconds": seconds, "inertia": float(found), "iterations": int(many)}
    if not whole and many > few:
        line["marginal"] = (seconds - short) / (many - few)
    return line


def spark(points, k, iterations):
    from pyspark.ml.clustering import KMeans
    from pyspark.ml.feature import VectorAssembler
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master("local[2]").config("spark.driver.memory", "6g")
    session = builder.config("spark.ui.enabled", "false").getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    table = session.read.csv(points, inferSchema=False)
    columns = [table[name].cast("double").alias(name) for name in table.columns]
    vectors = VectorAssembler(inputCols=table.columns, outputCol="features")
    data = vectors.transform(table.select(columns)).select("features").cache()
    data.count()

    def fit(count):
        model = KMeans(k=int(k), maxIter=count, tol=0.0, initMode="random", seed=1)
        return timed(lambda: model.fit(data))[0]

    fit(1)
    short, many = fit(2), int(iterations)
    seconds = fit(many)
    session.stop()
    return {"seconds": seconds, "marginal": (seconds - short) / (many - 2)}


def main(command, *rest):
    if command == "make":
        return make(*rest)
    if command == "spark":
        return spark(*rest)
    how, _, whole = command.partition("-")
    return fits(how, *rest, whole == "whole")


print(json.dumps(main(*sys.argv[1:])))
