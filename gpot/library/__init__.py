"""gpot in one call: `gpot.fit` trains s for a flow, `FittedMap` reports, draws and saves it, `gpot.load` reads it."""
