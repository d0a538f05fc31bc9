"""A fake tenant: Microsoft Graph on loopback, over the users, groups and licences of an embedded directory's file.

In tests: the fixture `tenant` of tests.tenant.fixtures. By hand: `python -m tests.tenant --help`.

What it answers is checked against Microsoft's contract; what it does not understand it refuses. It is as strict as
Graph is known to be, and in doubt stricter. It is no proof of what a real tenant does.
"""
