"""The engine's socket as an agent sees it: a program of its own between the agents and dockerd, and a table of what may pass.

One connection carries one request: whatever follows the request is never read as another one. What is decided on (method,
path, query, headers, JSON) is parsed strictly and written anew; only bodies that nobody decides on are passed as they are.
"""
