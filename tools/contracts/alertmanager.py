"""What Alertmanager sends to a webhook, version 4. Fields that nothing reads are let in."""

from typing import Annotated, Literal

from pydantic import Field

from tools.contracts.base import PublicContract, UtcDatetime

Labels = dict[str, str]


class Alert(PublicContract):
    """One alert of a group."""

    status: Literal["firing", "resolved"]
    labels: Labels
    annotations: Labels = {}
    starts_at: UtcDatetime
    fingerprint: Annotated[str, Field(min_length=1, max_length=64)]
    """Of the labels: the same alert has the same one."""


class AlertmanagerMessage(PublicContract):
    """A group of alerts."""

    version: Literal["4"]
    status: Literal["firing", "resolved"]
    alerts: Annotated[tuple[Alert, ...], Field(max_length=1000)]
