# pyright: basic
"""Has an object changed? A watch that only wakes: what counts is what is read after it.

So neither the order of the events, nor one that is late, nor one that is missing can make anything ready that is not. However the
watch ends (its time is over, the version it starts from is gone, the connection breaks, it is not allowed), the object is read again.
"""

import math
import time
from contextlib import closing
from typing import Any, Final

CONNECT_SECONDS: Final = 10.0
CHANGES: Final = frozenset({"ADDED", "MODIFIED", "DELETED"})


def woken(list_objects: Any, *, at: dict[str, str], name: str, since: str, seconds: float) -> bool:
    """Whether something happened to the object; False after `seconds`, or where the watch ended and told nothing.

    Args:
        list_objects: `CustomObjectsApi.list_namespaced_custom_object`.
        at: Group, version, namespace and plural.
        name: Of the object.
        since: resourceVersion of the list in which it was last read: nothing in between is missed.
        seconds: Limit, kept by us too where the server is silent or sends nothing but bookmarks.
    """
    from kubernetes import watch
    from kubernetes.client import ApiException
    from urllib3.exceptions import HTTPError

    deadline = time.monotonic() + seconds
    events: Any = watch.Watch().stream(
        list_objects,
        **at,
        field_selector=f"metadata.name={name}",
        resource_version=since,
        allow_watch_bookmarks=True,
        # Whole seconds, and 0 would be the server's default of half an hour and more.
        timeout_seconds=max(1, math.ceil(seconds)),
        _request_timeout=(min(CONNECT_SECONDS, max(0.05, seconds)), max(0.05, seconds)),
    )
    try:
        with closing(events):
            for event in events:
                if event["type"] in CHANGES and event["object"]["metadata"]["name"] == name:
                    return True
                if time.monotonic() >= deadline:
                    return False
    except (ApiException, HTTPError, OSError, ValueError, LookupError, TypeError):
        # 410 Gone, a connection that broke, no right to watch, a page that is no event: whatever is wrong is told by the look
        # that follows, or it does not matter.
        return False
    return False
