# SPDX-License-Identifier: Apache-2.0
"""The templates and style sheets of the pages."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined


def make_environment() -> Environment:
    """Return the environment that renders this room's templates, with every text escaped."""
    loader = PackageLoader("blendset_trainer.reporting", ".")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined)


def read_source(environment: Environment, name: str) -> str:
    """Return a file beside the templates as it is."""
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0]
