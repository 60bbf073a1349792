"""The WSGI entry for gunicorn: ``hecto.wsgi:app``."""

from hecto import settings
from hecto.application import create_app

app = create_app(settings.load())
