"""Forms of the message pages: everything is text there, and line ends come as CR LF."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from hecto.core.input import LARGEST_ID, Input
from hecto.modules.messages.api import Address, Identifier, LinkTitle, Name, Topic, Words
from hecto.modules.messages.queries import PAGE

Lines = BeforeValidator(lambda value: value.replace("\r\n", "\n") if isinstance(value, str) else value)
Text = Annotated[Words, Lines]


class ConversationQuery(Input):
    """Which part of a conversation; ``edit`` is the message whose form is open."""

    before: int | None = Field(default=None, ge=1, le=LARGEST_ID)
    limit: int = Field(default=PAGE, ge=1, le=200)
    edit: int | None = Field(default=None, ge=1, le=LARGEST_ID)


class ChangesQuery(Input):
    since: int = Field(ge=0, le=LARGEST_ID)


class ListQuery(Input):
    """``at`` is the conversation that is open beside the list."""

    at: int | None = Field(default=None, ge=1, le=LARGEST_ID)


class ChannelForm(Input):
    name: Name
    topic: Topic = ""
    private: bool = False


class AboutForm(Input):
    name: Name
    topic: Topic = ""


class ArchiveForm(Input):
    archived: bool


class PersonForm(Input):
    user_id: Identifier


class MessageForm(Input):
    """A message with at most one link; the API takes more."""

    text: Text
    url: Address | None = None
    title: LinkTitle = ""

    @property
    def links(self) -> list[dict[str, Any]]:
        return [{"url": self.url, "title": self.title}] if self.url else []


class EditForm(Input):
    text: Text
