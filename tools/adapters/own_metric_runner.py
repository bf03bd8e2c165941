# pyright: basic
"""What does a user's own metric say of a model's scored rows? Called in a subprocess, without credentials, within limits."""

import hashlib
import json
import sys
import tempfile
from pathlib import Path

from tools.adapters.subprocesses import bare_environment, run_limited
from tools.contracts.measuring import MetricJob, MetricResult
from tools.errors import BadInput
from tools.own_metrics import parts_of
from tools.quoting import SAID, quoted

WORKER = Path(__file__).with_name("own_metric_worker.py")


def measure(job: MetricJob) -> MetricResult:
    """One number a row, as Parquet at `job.output`; whatever the function does comes back as a result."""
    file = metric_file(job.name, Path(job.root))
    if isinstance(file, str):
        return MetricResult(status="failed", statement=file)
    digest = file_digest(file)
    # Mode 0700: nobody else reads the labels, or swaps the answer.
    with tempfile.TemporaryDirectory(prefix="retraining-", ignore_cleanup_errors=True) as name:
        return _run(job, Path(name), file, digest)


def metric_file(name: str, root: Path) -> Path | str:
    """The file of a metric `FILE.py:FUNCTION` in the workspace `root`, or why there is none, as half a sentence."""
    try:
        given, _ = parts_of(name)
    except BadInput as error:
        return error.message
    root = root.resolve()
    path = (root / given).resolve()
    if not path.is_relative_to(root):
        return f"its file {given} is a link out of the workspace {root}"
    return path if path.is_file() else f"there is no file {given} in the workspace {root}"


def file_digest(file: Path) -> str:
    """sha256 of a file."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _run(job: MetricJob, folder: Path, file: Path, digest: str) -> MetricResult:
    part, order, work = folder / "out.parquet", folder / "job.json", folder / "work"
    work.mkdir(mode=0o700)
    content = {
        "file": str(file),
        "root": str(Path(job.root).resolve()),
        "function": job.name.rpartition(":")[2],
        "rows": str(Path(job.rows).resolve()),
        "scored": str(Path(job.scored).resolve()),
        "features": list(job.features),
        "target": job.target,
        "output": str(part),
    }
    order.write_text(json.dumps(content), encoding="utf-8")
    ended = run_limited(
        # -P: beside the worker lie modules of ours; -B: nothing is left in the user's workspace.
        [sys.executable, "-P", "-B", str(WORKER), str(order)],
        cwd=work,
        environment=bare_environment({"HOME": str(work), "TMPDIR": str(work)}),
        seconds=job.time_limit.total_seconds(),
        memory_mb=job.memory_limit_mb,
    )

    def failed(status: str, statement: str) -> MetricResult:
        return MetricResult.model_validate({"status": status, "digest": digest, "statement": statement})

    if ended.how == "timed_out":
        return failed("timed_out", f"no answer within {job.time_limit} (scoring.time_limit)")
    if ended.how == "out_of_memory":
        return failed("out_of_memory", f"it took more than {job.memory_limit_mb} MB (scoring.memory_limit_mb)")
    if not ended.good:
        how = f"signal {ended.code}" if ended.how == "killed_by_signal" else f"exit code {ended.code}"
        return failed("failed", f"it could not be measured ({how}): {quoted(ended.last_line, SAID)}")
    rows, problem = checked(part, job)
    if problem is not None:
        return failed("failed", problem)
    if file_digest(file) != digest:
        return failed("failed", "its file was changed while it ran")
    output = Path(job.output)
    output.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    beside = output.with_name(f".{output.name}.part")
    beside.write_bytes(part.read_bytes())
    beside.replace(output)
    return MetricResult(status="measured", output=str(output), digest=digest, statement=f"{rows:,} rows measured")


def checked(part: Path, job: MetricJob) -> tuple[int, str | None]:
    """Rows measured, and what is wrong with them. The file comes from where the user's code ran: it proves nothing."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not part.exists():
        return 0, "its process ended before it could answer"
    try:
        asked, table = pq.read_metadata(job.rows).num_rows, pq.read_table(part)
    except (OSError, pa.ArrowException) as error:
        return 0, f"left an answer that cannot be read: {str(error).splitlines()[0][:200]}"
    if table.column_names != ["value"] or table.num_rows != asked or not pa.types.is_floating(table.field(0).type):
        return table.num_rows, f"left {table.num_rows} values for {asked} rows"
    bad = int((~np.isfinite(table.column("value").to_numpy(zero_copy_only=False))).sum())
    return table.num_rows, f"left {bad} values that are no finite number" if bad else None
