"""Configuration: the schema, the rules between groups, composition, and the entry point of the scripts."""

from gpot.config.compose import CONFIGS, compose, sibling, to_config
from gpot.config.entry import entry
from gpot.config.schema import Config, register

__all__ = ["CONFIGS", "Config", "compose", "entry", "register", "sibling", "to_config"]
