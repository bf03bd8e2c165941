# pyright: basic
"""What the API server answers, as one of ours: an object, nothing, or an error that names thing, value and remedy.

No answer is passed on whole: a proxy's page may stand in its place. Of credentials nothing is ever told.
"""

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final

from tools.errors import BadInput, NotAllowed, RetrainingError, TimedOut, Unavailable
from tools.masking import masked

MOST_TOLD: Final = 400
"""Characters of the server's own words."""
_ROLE: Final = "give the account the role in docs/targets.md"
_LATER: Final = "it may pass; else see whether the API server is well: kubectl get --raw /readyz"


def one_retry(settings: Any) -> Any:
    """The client's settings, with what fails on the way tried once more and nothing else.

    Left alone, urllib3 sleeps for as long as a Retry-After says, whatever the time limit: one 429 would stop a watch of all rollouts.
    """
    from urllib3.util import Retry

    settings.retries = Retry(
        total=1, redirect=0, status=0, raise_on_redirect=False, raise_on_status=False, respect_retry_after_header=False
    )
    return settings


def answer(call: Callable[[], Any], *, verb: str, kind: str, name: str | None, namespace: str) -> Any:
    """What the call gives: an object, or a list of them.

    Raises:
        Absent: 404 of the object itself. Clash: 409.
        NotAllowed: 401, 403. BadInput: what is asked for is refused. TimedOut, Unavailable: all else.
    """
    from kubernetes.client import ApiException
    from kubernetes.config import ConfigException
    from urllib3.exceptions import HTTPError, ReadTimeoutError

    what = f"{kind} {name}" if name else f"every {kind}"
    given = {"thing": kind, "value": name or namespace}
    try:
        found = call()
    except ApiException as error:
        raise _translated(error, verb, what, name, namespace, given) from error
    except HTTPError as error:
        cause = getattr(error, "reason", None) or error
        failure = TimedOut if isinstance(cause, ReadTimeoutError) else Unavailable
        raise failure(
            f"cannot {verb} {what}: the cluster did not answer ({type(cause).__name__})",
            **given,
            remedy="is the API server up, and is it the one that target.context names?",
        ) from error
    except (OSError, ConfigException) as error:
        # The client reads tokens anew while it works; what is in the message may be one.
        raise Unavailable(
            f"cannot {verb} {what}: the credentials could not be read ({type(error).__name__})",
            **given,
            remedy="see that the kubeconfig or the pod's service account can be read",
        ) from error
    except (ValueError, LookupError) as error:
        raise _no_api(verb, what, given) from error
    if not _as_it_should_be(verb, found):
        raise _no_api(verb, what, given)
    return found


class Absent(BadInput):
    """There is no such object. Another 404 (no such kind, no such namespace, a proxy's) says nothing of the object."""


class Clash(Unavailable):
    """Somebody else was quicker: it is there already, or changed since it was read."""


def _no_api(verb: str, what: str, given: Mapping[str, Any]) -> Unavailable:
    return Unavailable(
        f"cannot {verb} {what}: what answers at the cluster's address is no Kubernetes API",
        **given,
        remedy="is there a proxy or a login page before it? see target.context",
    )


def _as_it_should_be(verb: str, found: Any) -> bool:
    if verb == "delete":
        return isinstance(found, Mapping)
    if verb != "list":
        return _is_object(found)
    return (
        isinstance(found, Mapping)
        and isinstance(found.get("metadata"), Mapping)
        and isinstance(found.get("items"), list)
        and all(_is_object(each) for each in found["items"])
    )


def _is_object(found: Any) -> bool:
    return (
        isinstance(found, Mapping)
        and isinstance(found.get("metadata"), Mapping)
        and isinstance(found["metadata"].get("name"), str)
        and isinstance(found.get("spec"), Mapping)
    )


def _status_of(error: Any) -> Mapping[str, Any]:
    """The Status object in the body; empty where something else stands there."""
    with suppress(ValueError, TypeError):
        found = json.loads(error.body)
        if isinstance(found, Mapping) and found.get("kind") == "Status":
            return found
    return {}


def _translated(
    error: Any, verb: str, what: str, name: str | None, namespace: str, given: Mapping[str, Any]
) -> RetrainingError:
    """The API server's refusal as one of ours."""
    status = _status_of(error)
    said = " ".join(masked(str(status.get("message") or error.reason or "no reason given")).split())
    said = said if len(said) <= MOST_TOLD else f"{said[:MOST_TOLD]}…"
    details = status.get("details")
    code = error.status or 0
    if code == 401:
        remedy = "renew the credentials of the kubeconfig or of the pod's account"
        return NotAllowed(f"may not {verb} {what} in namespace {namespace}: {said}", **given, remedy=remedy)
    if code == 403:
        return NotAllowed(f"may not {verb} {what} in namespace {namespace}: {said}", **given, remedy=_ROLE)
    if code == 404:
        about = details.get("name") if isinstance(details, Mapping) else None
        if name is not None and status.get("reason") == "NotFound" and about == name:
            return Absent(f"there is no {what}", **given, remedy="deploy it first")
        remedy = f"is Seldon Core 2 installed, and is there a namespace {namespace}?"
        return BadInput(f"cannot {verb} {what}: {said}", **given, remedy=remedy)
    if code == 409:
        return Clash(f"cannot {verb} {what}: {said}", **given, remedy="it is read again and tried anew")
    if code in (400, 405, 406, 413, 415, 422):
        return BadInput(f"the cluster refuses {what}: {said}", **given, remedy="see `target` in the profile")
    if code in (408, 504):
        return TimedOut(f"cannot {verb} {what} in time: {code} {said}", **given, remedy=_LATER)
    return Unavailable(f"cannot {verb} {what}: {code or 'no answer'} {said}", **given, remedy=_LATER)
