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
from portwright.exporters.decomposition import decompose_for_generation

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

    def export_for_generation(
        self,
        model: torch.nn.Module,
        sample_inputs: MutableMapping[str, Any],
        config: Any = None,
        *,
        generation_config: Any = None,
        multi_token_decode: bool = False,
        merge_decode: bool = False,
    ) -> dict[str, Any]:
        """Exports what `generate()` runs: the modules of `decompose_for_generation`, one by one.

        Args:
            model: a Transformers model that can generate.
            sample_inputs: what `model.generate(**sample_inputs)` takes. It runs eagerly for a few
                tokens: pass small but representative inputs, of batch 2 or more.
            config: one for all components, or a dict with one for each, by name.
            generation_config: for `generate()` instead of the model's own; one with
                `cache_implementation="static"` gives a decode with caches of fixed size.
            multi_token_decode: the decode takes any number of tokens.
            merge_decode: "decode" does the first step too and there is no "prefill".

        Returns:
            The exporter's artifact by component: "prefill" and "decode", "encoder" where there is
            one; for multimodal models "image_encoder", "audio_encoder", "multi_modal_projector"
            (or "connector", "embed_vision", "embed_audio"), "language_model", "lm_head", "decode".

        Raises:
            InvalidArgumentError: the configs do not fit the components.
            PortwrightError: see `decompose_for_generation` and `export`, whose errors have a note
                that names the component.
        """
        components = decompose_for_generation(
            model, sample_inputs, generation_config, multi_token_decode, merge_decode
        )
        configs = self._config_by_component(config, list(components))
        exported = {}
        for name, (module, inputs) in components.items():
            try:
                exported[name] = self.export(module, inputs, configs[name])
            except Exception as error:
                error.add_note(
                    f"while the component '{name}' ({type(module).__name__}) was exported"
                )
                raise
        return exported

    def _config_by_component(self, config: Any, names: list[str]) -> dict[str, Any]:
        if not isinstance(config, dict) or not set(config) & set(names):
            if getattr(self._config(config), "output_path", None) is not None:
                raise InvalidArgumentError(
                    "one output_path for several components: give a dict of configs by component, "
                    f"each with its own path. The components are {', '.join(names)}"
                )
            return dict.fromkeys(names, config)
        if set(config) != set(names):
            raise InvalidArgumentError(
                f"configs for {', '.join(config)}, but the components are {', '.join(names)}: give "
                "one config for each, or one for all"
            )
        return config
