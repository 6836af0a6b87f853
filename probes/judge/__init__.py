"""Judgement: from what was measured and what the tables hold to causes, pure."""

from probes.judge.judging import judge

__all__ = ["judge"]
