"""What student families share: settings as parameters and as config."""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping
from typing import Any, ClassVar, Self

from guidestore.heads.checks import make_settings, settings_from_config, settings_to_config


class Family(ABC):
    """The part of the contract `Student` that is alike in all. `name` is FAMILY-student."""

    name: ClassVar[str]
    Settings: ClassVar[type]
    settings: Any

    def __init__(self, **params: Any) -> None:
        self.settings = make_settings(self.Settings, params, self.name)

    @property
    def config(self) -> dict[str, Any]:
        return settings_to_config(self.name, self.settings)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        student = cls()
        student.settings = settings_from_config(cls.Settings, config, cls.name)
        return student
