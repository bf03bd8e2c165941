"""How is a text shown that may hold a password?"""

import re

# A password may hold an @ of its own; a lone name before the @ of a web address is a token.
_PASSWORD = re.compile(r"(://[^:/@\s]*:)[^@\s]*@(?:[^/@\s]*@)*")
_TOKEN = re.compile(r"(https?://)[^:/@\s]+@", re.IGNORECASE)
_PARAMETER = re.compile(r"([?&][\w.-]*(?:password|passwd|pwd|token|secret|key)=)[^&\s]+", re.IGNORECASE)


def masked(text: str) -> str:
    """Text without the passwords and tokens of URLs in it."""
    return _PARAMETER.sub(r"\1***", _TOKEN.sub(r"\1***@", _PASSWORD.sub(r"\1***@", text)))
