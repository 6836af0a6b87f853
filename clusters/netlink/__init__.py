"""Netlink spoken directly: request builders, one socket per namespace, fast decoding of dumps."""

from __future__ import annotations

from clusters.netlink.connection import Netlink

__all__ = ["Netlink"]
