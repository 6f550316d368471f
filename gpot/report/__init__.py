"""Tables that set our numbers beside the printed ones, the summary, and the page."""
