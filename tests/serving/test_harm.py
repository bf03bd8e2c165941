"""The eval of harm that no crash gives away stays runnable."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.serving


def test_quick_harm_is_over_once_it_is_found(tmp_path: Path) -> None:
    file = tmp_path / "rows.json"
    words = [sys.executable, "-m", "evals.reliability.harm", "--quick", "--json", str(file)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    rows = {row["name"]: row for row in json.loads(file.read_text())["rows"]}
    seconds = [row["value"] for name, row in rows.items() if "serving everything" in name]
    # How many is the eval's to say, on an idle machine: here it is enough that the champion serves again.
    assert len(seconds) == 2
    assert all(each >= 0 for each in seconds)
