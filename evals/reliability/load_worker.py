# pyright: basic
"""Stand-alone: scores by the weights that stand in a model's metadata, in place of the product's worker. Imports nothing of ours."""

import json
import sys


def main(path: str) -> None:
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq
    import yaml

    with open(path, encoding="utf-8") as file:
        job = json.load(file)
    with open(job["model"] + "/MLmodel", encoding="utf-8") as file:
        weights = yaml.safe_load(file)["metadata"]["weights"]
    rows = pq.read_table(job["rows"], columns=job["features"])
    x = np.column_stack([rows[name].to_numpy() for name in job["features"]])
    share = 1 / (1 + np.exp(-(x @ np.array(weights[:-1]) + weights[-1])))
    found = {"prediction": (share > 0.5).astype("int64"), "proba:0": 1 - share, "proba:1": share}
    pq.write_table(pa.table(found), job["output"])
    with open(job["told"], "w", encoding="utf-8") as file:
        json.dump([], file)


if __name__ == "__main__":
    main(sys.argv[1])
