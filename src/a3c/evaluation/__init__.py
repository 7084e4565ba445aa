"""Evaluating an agent: whole episodes, which weights are the best, films."""
