"""Hecto: a self-hosted, real-time ERP."""

__version__ = "0.1.0"
