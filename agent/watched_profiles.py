"""The profiles of a workspace as a watcher needs them: which there are, which have changed, and each read once."""

from collections import OrderedDict
from pathlib import Path
from threading import Lock
from typing import Final

from agent.profiles import DEFAULTS, load_file, profile_files
from agent.workspace import Workspace
from tools.contracts.profile import Profile
from tools.errors import NotFound

KEPT: Final = 4096
"""Profiles that are kept in memory; the one that was asked for longest ago goes first."""


class WatchedProfiles:
    """Reads a profile again when its file, or `defaults.yaml`, has changed."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._kept: OrderedDict[str, tuple[str, Profile]] = OrderedDict()
        self._lock = Lock()

    def stamps(self) -> dict[str, str]:
        """Profile id to what its files' sizes and times are; nothing is read."""
        under = _stamp(self._workspace.profiles_dir / f"{DEFAULTS}.yaml")
        return {path.stem: f"{_stamp(path)}|{under}" for path in profile_files(self._workspace)}

    def load(self, model_id: str) -> Profile:
        """Raises `NotFound` where its file is gone, `BadInput` where it is at fault."""
        path = self._workspace.profiles_dir / f"{model_id}.yaml"
        stamp = f"{_stamp(path)}|{_stamp(self._workspace.profiles_dir / f'{DEFAULTS}.yaml')}"
        if stamp.startswith("|"):
            raise NotFound(
                f"the profile {model_id!r} is gone", thing="modelId", value=model_id, remedy="`retrain profile list`"
            )
        with self._lock:
            known = self._kept.get(model_id)
            if known is not None and known[0] == stamp:
                self._kept.move_to_end(model_id)
                return known[1]
        profile = load_file(self._workspace, path).profile
        with self._lock:
            self._kept[model_id] = (stamp, profile)
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return profile


def _stamp(path: Path) -> str:
    try:
        stat = path.stat()
    except OSError:
        return ""
    return f"{stat.st_size}-{stat.st_mtime_ns}"
