"""Whose token opens a server, and who can reach it without one?"""

import ipaddress
import re
from pathlib import Path

from tools.errors import BadInput


def hashes_of(token: str | None, file: Path | None) -> tuple[str, ...]:
    """sha256 of the tokens that may call: of the environment's, and what a file holds.

    Raises:
        BadInput: The file cannot be read, or holds a line that is no hash.
    """
    from agent.entrypoints.server.app import hashed

    found = [] if token is None else [hashed(token)]
    if file is None:
        return tuple(found)
    try:
        lines = file.read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(
            f"{file} cannot be read", thing="--token-hashes", value=str(file), remedy="name a file of hashes"
        ) from error
    if not lines or any(re.fullmatch(r"[0-9a-f]{64}", line) is None for line in lines):
        # A line that is no hash may be a token: it is not repeated.
        raise BadInput(
            f"{file} holds a line that is no sha256 in hexadecimal digits, or nothing",
            thing="--token-hashes",
            remedy="printf %s TOKEN | sha256sum | cut -d' ' -f1 > FILE",
        )
    return (*found, *lines)


def require_loopback_or(known: bool, host: str, remedy: str) -> None:
    """Raises `BadInput` where the address can be reached from outside, and nobody has to show a token."""
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback and not known:
        raise BadInput(
            f"{host} can be reached from outside, and there is no key and no token",
            thing="--host",
            value=host,
            remedy=f"{remedy}, or stay on 127.0.0.1",
        )
