"""The paper's printed numbers, printed names, and tables that set ours beside them."""
