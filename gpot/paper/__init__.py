"""The paper as data: the numbers that it prints, its items, and the words for metrics and rows."""
