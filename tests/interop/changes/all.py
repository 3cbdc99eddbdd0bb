"""Every change, in the order of the table. Importing a file of changes registers them."""

from __future__ import annotations

from interop.changes import clients, graph, jack_client, modules, settings
from interop.changes.change import CHANGES

__all__ = ["CHANGES", "clients", "graph", "jack_client", "modules", "settings"]
