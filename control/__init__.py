"""The code behind ./hecto: it prepares the control machine, boots local hosts, builds releases and runs playbooks and tests.

It uses the standard library alone, because it is what installs everything else.
"""
