"""An item of the paper from artefacts: its rows measured, its figures drawn, its table written and logged."""
