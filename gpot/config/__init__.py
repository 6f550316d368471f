"""Configuration: the schema, the rules between groups, and composition."""

from gpot.config.compose import CONFIGS, compose, sibling, to_config
from gpot.config.schema import Config, register

__all__ = ["CONFIGS", "Config", "compose", "register", "sibling", "to_config"]
