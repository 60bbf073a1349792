"""Forms of the task pages, and saving them beside the work of others.

A form carries what its fields were when it was made (``was_...``). So what somebody really changed is known, and two
people who change different fields of a task never meet; only the same field in two ways is a conflict.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from hecto.core.endpoints import Context
from hecto.core.errors import Conflict
from hecto.core.input import Input
from hecto.modules.tasks import queries, service
from hecto.modules.tasks.api import Description, Identifier, Priority, StatusName, Title

# Forms send an empty field for "none", and line ends as CR LF.
Nothing = BeforeValidator(lambda value: value or None)
Lines = BeforeValidator(lambda value: value.replace("\r\n", "\n") if isinstance(value, str) else value)
Day = Annotated[date | None, Nothing]
Somebody = Annotated[Identifier | None, Nothing]
Text = Annotated[Description, Lines]


class EditForm(Input):
    version: Identifier
    title: Title
    description: Text = ""
    priority: Priority
    due_date: Day
    was_title: Title
    was_description: Text = ""
    was_priority: Priority
    was_due_date: Day


class StatusForm(Input):
    version: Identifier
    status: StatusName
    was_status: StatusName


class AssigneeForm(Input):
    version: Identifier
    assignee_id: Somebody
    was_assignee_id: Somebody


class DeleteForm(Input):
    version: Identifier


class CommentForm(Input):
    text: Annotated[str, Lines, Field(min_length=1, max_length=10_000)]


class TaskPageQuery(Input):
    """``edit`` opens the task's page with its form."""

    edit: bool = False


class Overlap(Conflict):
    """Somebody else changed the same fields: those of ``current`` that ``editors`` names."""

    def __init__(self, current: dict[str, Any], fields: list[str], editors: dict[str, str]) -> None:
        names = ", ".join(name.removesuffix("_id").replace("_", " ") for name in fields)
        super().__init__(f"Somebody else changed the {names} of this task meanwhile. Look at it and decide.")
        self.current = current
        self.editors = {name: editors.get(name, "Somebody else") for name in fields}


def save(context: Context, task_id: int, form: EditForm | StatusForm | AssigneeForm) -> None:
    """Save what was changed in a form onto the task as it stands now; raises Overlap or what the service raises."""
    values = form.model_dump()
    was = {name.removeprefix("was_"): value for name, value in values.items() if name.startswith("was_")}
    changes = {name: values[name] for name in was if values[name] != was[name]}
    if not changes:
        return
    version = form.version
    try:
        service.change(context.session, context.user, task_id, version, changes)
    except Conflict as conflict:
        # The service holds the row by now, so what is merged here cannot change once more before the commit.
        current = conflict.extra["current"]
        both = [name for name in changes if _standing(current, name) not in (_plain(was[name]), _plain(values[name]))]
        if both:
            raise Overlap(current, both, queries.editors(context.session, task_id, both)) from conflict
        service.change(context.session, context.user, task_id, current["version"], changes)


def _standing(task: dict[str, Any], name: str) -> Any:
    if name == "assignee_id":
        return (task["assignee"] or {}).get("id")
    return task[name]


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, date) else value
