"""The code behind ./hecto: it prepares this machine, boots local hosts, builds releases, runs playbooks and tests.

It uses the standard library alone, because it is what installs everything else.
"""
