# pyright: basic
"""Messages to people by whatever Apprise speaks: mail, chats, pagers, webhooks.

An address holds a secret. It is looked up in the environment when a message leaves, and stands in no log, message or record:
a channel is named by its number and the kind of its address.
"""

import logging
import re
from collections.abc import Mapping, Sequence

from tools.contracts.incident import Notice
from tools.errors import Unavailable
from tools.ports import ESCALATION

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


class AppriseNotifier:
    """Port `Notifier`.

    Args:
        urls: Apprise addresses with `${NAME}` in place of secrets.
        variables: The environment.
        escalation: More addresses, whose channels begin with `escalation-`.
    """

    def __init__(self, urls: Sequence[str], variables: Mapping[str, str], escalation: Sequence[str] = ()) -> None:
        self._urls = {f"{number}:{_kind(url)}": url for number, url in enumerate(urls, start=1)}
        self._urls |= {f"{ESCALATION}{number}:{_kind(url)}": url for number, url in enumerate(escalation, start=1)}
        self._variables = variables

    def channels(self) -> Sequence[str]:
        """In the order of the profile, those for escalations last."""
        return tuple(self._urls)

    def send(self, channel: str, notice: Notice) -> None:
        """One message. Apprise tells no reason for a failure that could be shown: it may quote the address."""
        if channel not in self._urls:
            raise _unsent(channel, "the profile names no such channel any more")
        try:
            self._send(channel, self._filled(channel), notice)
        except Unavailable:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a plugin raises, the message did not leave
            raise _unsent(channel, type(error).__name__) from None

    def _send(self, channel: str, url: str, notice: Notice) -> None:
        import apprise

        # Its warnings quote addresses.
        logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)
        sender = apprise.Apprise()
        if not sender.add(url):
            raise _unsent(channel, "Apprise knows no such address")
        kind = apprise.NotifyType.SUCCESS if notice.event == "promoted" else apprise.NotifyType.WARNING
        if not sender.notify(title=notice.title, body=f"{notice.body}\n[{notice.key}]", notify_type=kind):
            raise _unsent(channel, "it was not taken")

    def _filled(self, channel: str) -> str:
        url = self._urls[channel]
        missing = [name for name in _VARIABLE.findall(url) if not self._variables.get(name)]
        if missing:
            raise _unsent(channel, f"the environment variable {', '.join(missing)} is not set")
        return _VARIABLE.sub(lambda match: self._variables[match.group(1)], url)


def _kind(url: str) -> str:
    scheme, found, _ = url.partition("://")
    return scheme if found and scheme.isalnum() else "secret"


def _unsent(channel: str, why: str) -> Unavailable:
    return Unavailable(
        f"channel {channel} did not take the message: {why}",
        thing="notify",
        value=channel,
        remedy="see `notify.urls` and `review.escalate_to` in the profile and the environment it names; `retrain watch` tries again",
    )
