"""Learning: one LightningModule per stage, the callbacks around them, and the loop that resumes."""
