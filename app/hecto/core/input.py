"""Reading requests: JSON, forms and query strings into pydantic models, each mistake with the path of its field."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from flask import Request
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import ErrorDetails

from hecto.core.errors import BadRequest, FieldError, Invalid, UnsupportedMedia

# The largest number that PostgreSQL's bigint holds.
LARGEST_ID = 2**63 - 1

CSRF_FIELD = "csrf_token"


class Input(BaseModel):
    """The base of every body and query: unknown fields are mistakes, and so is what PostgreSQL cannot store."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)

    @model_validator(mode="after")
    def _no_nul(self) -> Input:
        for name in self.model_fields_set:
            if _has_nul(getattr(self, name)):
                raise ValueError(f"{name} contains a NUL character, which text cannot have")
        return self


def _has_nul(value: Any) -> bool:
    if isinstance(value, str):
        return "\0" in value
    return isinstance(value, list | tuple) and any(map(_has_nul, value))


def not_sent() -> Any:
    """The default of a field that may be left out but not be null; views look only at the fields that were sent."""
    return None


Model = TypeVar("Model", bound=Input)


def read_json(request: Request, model: type[Model]) -> Model:
    """Parse a JSON body strictly: a number in quotes is not a number."""
    if request.mimetype != "application/json":
        raise UnsupportedMedia("Send the body as JSON, with the header Content-Type: application/json.")
    try:
        return model.model_validate_json(request.get_data(cache=True), strict=True)
    except ValidationError as error:
        raise _refusal(error) from error


def read_form(request: Request, model: type[Model]) -> Model:
    """Parse an HTML form, where everything is text and an empty field means no value."""
    fields = {name: value for name, value in request.form.items() if name != CSRF_FIELD}
    return _validate(model, fields)


def read_query(request: Request, model: type[Model]) -> Model:
    """Parse the query string; an empty parameter means no value."""
    return _validate(model, request.args)


def _validate(model: type[Model], values: Mapping[str, str]) -> Model:
    optional = {name for name, field in model.model_fields.items() if not field.is_required()}
    given = {name: value for name, value in values.items() if value != "" or name not in optional}
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise _refusal(error) from error


def _refusal(error: ValidationError) -> BadRequest | Invalid:
    details = error.errors(include_url=False, include_input=False)
    if details[0]["type"] == "json_invalid":
        return BadRequest(f"The body is not valid JSON: {details[0]['ctx']['error']}.")
    return Invalid([FieldError(pointer(detail["loc"]), _sentence(detail)) for detail in details])


def pointer(location: Iterable[Any]) -> str:
    """A JSON pointer (RFC 6901) from the location that pydantic gives."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in location)


def _sentence(detail: ErrorDetails) -> str:
    if detail["type"] == "extra_forbidden":
        return "There is no such field."
    if detail["type"] == "missing":
        return "This field is required."
    message = detail["msg"].removeprefix("Value error, ")
    return message[:1].upper() + message[1:] + "."
