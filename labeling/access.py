"""Which roles the pages of labeling/ are for. Who a visitor is, is feedback/visits.py's."""

from __future__ import annotations

from feedback.visits import AGENTS, EVERYBODY, LABELERS, LEADS, ROLE_NAMES, Visitor, missing, page, visitor

__all__ = ["AGENTS", "EVERYBODY", "LABELERS", "LEADS", "ROLE_NAMES", "Visitor", "missing", "page", "visitor"]
