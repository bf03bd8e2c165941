"""How is a text shown that may hold a password?"""

import re

# A password may hold an @ of its own; a lone name before the @ of a web address is a token.
_PASSWORD = re.compile(r"(://[^:/@\s]*:)[^@\s]*@(?:[^/@\s]*@)*")
# A database's may hold white space too, which ends every other address.
_SPACED = re.compile(r"(\bpostgres(?:ql)?://[^:/@\s]*:)[^@]*@", re.IGNORECASE)
_TOKEN = re.compile(r"(https?://)[^:/@\s]+@", re.IGNORECASE)
_PARAMETER = re.compile(r"([?&][\w.-]*(?:password|passwd|pwd|token|secret|key)=)[^&\s]+", re.IGNORECASE)
# What services give out as keys, by its shape; and whatever stands behind a word that announces a secret.
_KEYS = re.compile(
    r"(?<![\w-])(?:(?:sk|pk|rk|xox[abp]|gh[oprsu]|github_pat|glpat|hf)[-_](?=[\w.-]*\d)[\w.-]{16,}"
    r"|(?:AKIA|ASIA)[A-Z0-9]{16}|AIza[\w-]{30,}|dapi[0-9a-f]{32}|eyJ[\w-]{10,}\.[\w.-]{10,})"
)
_BEARER = re.compile(r"(\b(?:bearer|basic|authorization:)\s+)(?!bearer\b|basic\b)[^\s\"']{8,}", re.IGNORECASE)
_ANNOUNCED = re.compile(
    r"(\b[\w-]*(?:api[_ -]?key|secret|token|passwo?r?d)[\w-]*[\"']?\s*(?:is\b\s*)?(?:(?<=is\s)|=|:|=>)\s*[\"']?)"
    r"(?!\*\*\*)[^\s\"',;]{6,}",
    re.IGNORECASE,
)
# By their beginning alone: a column called pk_customer is one too, so this is for what is kept and not for what is read.
_LIKE_KEYS = re.compile(
    r"\b(?:sk|pk|rk|hf|ghp|gho|ghs|glpat|xox[abps])[-_][A-Za-z0-9_-]{8,}|\bAKIA[0-9A-Z]{12,}|\beyJ[\w-]{8,}\.[\w-]+\.[\w-]+"
)
_MAIL = re.compile(r"\b[\w.+-]+@[\w-]+(?:\.[\w-]+)+\b")
_KEYWORD = re.compile(r"\b((?:password|passwd|pwd)\s?=\s?)(?:'[^']*'|[^\s&]+)", re.IGNORECASE)


def masked(text: str) -> str:
    """Text without the passwords and tokens of URLs and connection strings in it."""
    for secret in (_PASSWORD, _SPACED):
        text = secret.sub(r"\1***@", text)
    text = _TOKEN.sub(r"\1***@", text)
    for secret in (_PARAMETER, _KEYWORD):
        text = secret.sub(r"\1***", text)
    return text


def without_secrets(text: str) -> str:
    """The same for what a person types or pastes: keys of services, bearer tokens, and what is announced as a secret, too."""
    text = masked(text)
    for announced in (_BEARER, _ANNOUNCED):
        text = announced.sub(r"\1***", text)
    return _KEYS.sub("***", text)


def private(text: str) -> str:
    """Text as it may be kept in logs and traces: without passwords, keys and tokens, and without addresses of people."""
    return _MAIL.sub("***@***", _LIKE_KEYS.sub("***", without_secrets(text)))
