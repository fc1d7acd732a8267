"""Imports Spyne, mended where its age shows; every other module takes what it needs of Spyne from here.

Spyne 2.14 carries a copy of `six` whose importer knows only the import protocol of Python 2. It stays
behind in `sys.meta_path`, where it makes every later import that fails end in a warning, so it gets the
methods of today's protocol before Spyne itself is imported. Python 3.12 and later import nothing of it otherwise.
Nothing taken here imports `cgi`, which Python 3.13 has dropped; Spyne's own WSGI server would.
"""

from __future__ import annotations

import importlib.util
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

_SIX = "spyne.util.six"


def _mend_six() -> None:
    package = importlib.util.find_spec("spyne")
    assert package is not None and package.submodule_search_locations
    path = Path(package.submodule_search_locations[0], "util", "six.py")
    spec = importlib.util.spec_from_file_location(_SIX, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[_SIX] = module
    spec.loader.exec_module(module)
    importer = module._importer.__class__
    importer.find_spec = _find_spec
    importer.create_module = _create_module
    importer.exec_module = _exec_module


def _find_spec(importer: Any, name: str, _path: object = None, _target: object = None) -> ModuleSpec | None:
    return importlib.util.spec_from_loader(name, importer) if name in importer.known_modules else None


def _create_module(importer: Any, spec: ModuleSpec) -> ModuleType:
    module: ModuleType = importer.load_module(spec.name)
    return module


def _exec_module(_importer: Any, _module: ModuleType) -> None:
    """Creating the module has executed it."""


if _SIX not in sys.modules:
    _mend_six()

from spyne import (  # noqa: E402
    Array,
    Boolean,
    ByteArray,
    ComplexModel,
    DateTime,
    Decimal,
    Double,
    Enum,
    Integer32,
    Integer64,
    ServiceBase,
    Unicode,
    rpc,
)
from spyne.model.enum import EnumBase  # noqa: E402

__all__ = [
    "Array",
    "Boolean",
    "ByteArray",
    "ComplexModel",
    "DateTime",
    "Decimal",
    "Double",
    "Enum",
    "EnumBase",
    "Integer32",
    "Integer64",
    "ServiceBase",
    "Unicode",
    "rpc",
]
