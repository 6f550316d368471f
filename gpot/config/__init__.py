"""Configuration: the schema, the rules between groups, and composition."""

from gpot.config.compose import compose, sibling, to_config
from gpot.config.schema import Config, register
from gpot.places import CONFIGS

__all__ = ["CONFIGS", "Config", "compose", "register", "sibling", "to_config"]
