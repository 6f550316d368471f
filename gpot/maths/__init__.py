"""Pure functions of tensors: no module, no configuration, no file, no global dtype."""
