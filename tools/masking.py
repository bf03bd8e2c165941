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


_BEARER = re.compile(r"\b(bearer\s+)[\w.~+/=-]{6,}", re.IGNORECASE)
_NAMED = re.compile(
    r"""\b((?:[\w-]*(?:api[_-]?key|secret|token|passwd|password))["']?\s*[:=]\s*["']?)[^\s"',;&]{4,}""", re.IGNORECASE
)
# By the way in which well-known services, and we, begin their keys.
_KEYS = re.compile(
    r"\b(?:sk|pk|rk|hf|ghp|gho|ghs|glpat|xox[abps])[-_][A-Za-z0-9_-]{8,}|\bAKIA[0-9A-Z]{12,}|\beyJ[\w-]{8,}\.[\w-]+\.[\w-]+"
)
_MAIL = re.compile(r"\b[\w.+-]+@[\w-]+(?:\.[\w-]+)+\b")


def private(text: str) -> str:
    """Text as it may be kept in logs and traces: without passwords, keys and tokens, and without addresses of people."""
    text = _BEARER.sub(r"\1***", masked(text))
    return _MAIL.sub("***@***", _KEYS.sub("***", _NAMED.sub(r"\1***", text)))
