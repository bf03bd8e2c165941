"""Chat with the agent: `service.py` is what a door sees, `graph.py` how a turn goes, `catalogue.py` what can be asked for.

A model's words start nothing. A tool that acts becomes a question (`acting.propose`) whose lines are made by code; only the person's
confirmation of exactly that (`tools/confirmation.py`) gets to `acting.perform`.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agent.desk import Desk
    from agent.entrypoints.chat.service import Chat

__all__ = ["chat_over"]


def chat_over(desk: "Desk") -> "Chat":
    """The chat of a workspace, with the language model that it names.

    Its conversations lie in `chat.db` in the workspace's `work_dir`, readable by the owner only.
    """
    from langgraph.checkpoint.sqlite import SqliteSaver

    from agent.bootstrap import checkpointer
    from agent.entrypoints.chat.service import Chat
    from tools.adapters.conversations import Conversations

    folder = desk.app.deps.work_dir
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    kept = Conversations(folder / "chat.db", folder / "chat")
    return Chat(desk, desk.app.language, kept, checkpointer(folder, SqliteSaver, "chat.db"))
