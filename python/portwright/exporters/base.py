"""The base of all exporters."""

from __future__ import annotations

import importlib.metadata
import logging
from abc import ABC, abstractmethod
from collections.abc import MutableMapping
from typing import Any, ClassVar

import torch

from portwright.errors import InvalidArgumentError
from portwright.exporters.configs import DynamoConfig

logger = logging.getLogger("portwright")
_warned: set[str] = set()


def _installed(package: str) -> str | None:
    try:
        return importlib.metadata.version(package).split("+")[0]
    except importlib.metadata.PackageNotFoundError:
        return None


class HfExporter(ABC):
    """Turns a model and sample inputs into an artifact.

    Attributes:
        tested_versions: the package versions that the test suite runs against; another installed
            version is logged as a warning, once.
        required_packages: what must be installed besides torch and transformers.
    """

    tested_versions: ClassVar[dict[str, str]] = {"torch": "2.13.0", "transformers": "5.23.0"}
    required_packages: ClassVar[tuple[str, ...]] = ()
    config_class: ClassVar[type[DynamoConfig]] = DynamoConfig

    def __init__(self) -> None:
        self._check_packages()

    def _check_packages(self) -> None:
        for package in self.required_packages:
            if _installed(package) is None:
                raise ImportError(
                    f"{type(self).__name__} needs the package '{package}': pip install {package}"
                )
        for package, tested in self.tested_versions.items():
            installed = _installed(package)
            if installed is not None and installed != tested and package not in _warned:
                _warned.add(package)
                logger.warning(
                    "%s %s is installed; portwright is tested with %s. Exports may differ",
                    package,
                    installed,
                    tested,
                )

    def _config(self, config: Any) -> Any:
        if config is None:
            config = self.config_class()
        elif isinstance(config, dict):
            config = self.config_class.from_dict(config)
        if not isinstance(config, self.config_class):
            raise InvalidArgumentError(
                f"{type(self).__name__}.export takes a {self.config_class.__name__} or a dict, not "
                f"{type(config).__name__}"
            )
        return config

    @abstractmethod
    def export(
        self, model: torch.nn.Module, sample_inputs: MutableMapping[str, Any], config: Any = None
    ) -> Any:
        """Exports `model` as it runs on `sample_inputs`."""
