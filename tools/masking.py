"""How is a text shown that may hold a password?"""

import re

# A password may hold an @ of its own; a lone name before the @ of a web address is a token.
_PASSWORD = re.compile(r"(://[^:/@\s]*:)[^@\s]*@(?:[^/@\s]*@)*")
# A database's may hold white space too, which ends every other address.
_SPACED = re.compile(r"(\bpostgres(?:ql)?://[^:/@\s]*:)[^@]*@", re.IGNORECASE)
_TOKEN = re.compile(r"(https?://)[^:/@\s]+@", re.IGNORECASE)
_PARAMETER = re.compile(r"([?&][\w.-]*(?:password|passwd|pwd|token|secret|key)=)[^&\s]+", re.IGNORECASE)
_KEYWORD = re.compile(r"\b((?:password|passwd|pwd)\s?=\s?)(?:'[^']*'|[^\s&]+)", re.IGNORECASE)


def masked(text: str) -> str:
    """Text without the passwords and tokens of URLs and connection strings in it."""
    for secret in (_PASSWORD, _SPACED):
        text = secret.sub(r"\1***@", text)
    text = _TOKEN.sub(r"\1***@", text)
    for secret in (_PARAMETER, _KEYWORD):
        text = secret.sub(r"\1***", text)
    return text
