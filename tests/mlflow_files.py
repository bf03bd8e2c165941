"""MLflow makes its tables by dozens of migrations, in seconds. Here once a process; what is needed is a copy."""

import functools
import tempfile
from pathlib import Path


def database(path: Path) -> str:
    """URI of a SQLite file with MLflow's tables and nothing in them, as MLflow leaves it when it starts.

    Its default experiment is made by whoever uses it first, so that its artifacts land where that one says.
    """
    path.write_bytes(_tables())
    return f"sqlite:///{path}"


@functools.cache
def _tables() -> bytes:
    from mlflow.store.db.utils import _initialize_tables
    from sqlalchemy import create_engine

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mlflow.db"
        engine = create_engine(f"sqlite:///{path}")
        _initialize_tables(engine)
        engine.dispose()
        return path.read_bytes()
