# pyright: basic
"""Stand-alone: run one MLflow Project by its local backend. Started as a file with a job's JSON; imports nothing of ours."""

import json
import logging
import sys


def main(path: str) -> int:
    with open(path, encoding="utf-8") as file:
        job = json.load(file)
    from mlflow.exceptions import ExecutionException
    from mlflow.projects import run

    # How MLflow starts a project is no news; what the pipeline itself says is, and passes through untouched.
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    try:
        run(
            job["folder"],
            entry_point=job["entry_point"],
            parameters=job["parameters"],
            experiment_id=job["experiment_id"],
            run_id=job["run_id"],
            env_manager="local",
            synchronous=True,
        )
    except ExecutionException as error:
        # Where the pipeline itself failed, its own last line shall stay the last one.
        if not str(error).startswith("Run (ID"):
            sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
