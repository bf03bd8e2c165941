# pyright: basic
"""Run by the interpreter that has llama.cpp: an OpenAI-compatible endpoint on loopback. `serve.py MODEL PORT`."""

import os
import signal
import sys

os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def main() -> None:
    """Prints the address once it answers, and stays until it is ended."""
    import xllamacpp  # pyright: ignore[reportMissingImports]

    asked = xllamacpp.CommonParams()
    asked.model.path, asked.port = sys.argv[1], int(sys.argv[2])
    asked.n_ctx, asked.n_parallel = 8192, 1
    asked.cpuparams.n_threads = asked.cpuparams_batch.n_threads = 2
    server = xllamacpp.Server(asked)
    sys.stdout.write(f"{server.listening_address}\n")
    sys.stdout.flush()
    signal.pause()


if __name__ == "__main__":
    main()
