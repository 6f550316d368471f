"""Scores of how codes carry known factors: DCI, MIG and SAP."""
