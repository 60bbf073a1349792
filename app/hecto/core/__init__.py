"""What every module builds on. It knows no module."""
