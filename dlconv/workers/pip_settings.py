"""What pip is told about indexes, find-links and certificates, and the same for uv, which asks neither."""

from __future__ import annotations

import configparser
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_KEYS = (
    "index-url",
    "extra-index-url",
    "find-links",
    "no-index",
    "cert",
    "client-cert",
    "trusted-host",
    "timeout",
    "proxy",
)


def pip_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """pip's settings by their long options' names, the environment's before the configuration files', as pip has it."""
    found: dict[str, str] = {}
    for path in _files(environment):
        parser = configparser.RawConfigParser()
        try:
            parser.read(path, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError):
            continue  # pip tells of it when it is used
        for section in ("global", "install"):
            if parser.has_section(section):
                found.update({key.replace("_", "-"): value for key, value in parser.items(section)})
    for key in _KEYS:
        value = environment.get("PIP_" + key.upper().replace("-", "_"))
        if value:
            found[key] = value
    return {key: found[key] for key in _KEYS if found.get(key)}


def for_uv(environment: Mapping[str, str]) -> dict[str, str]:
    """Environment variables that make uv use what pip would; what is set for uv already is left as it is."""
    pip = pip_settings(environment)
    wanted: dict[str, str] = {}
    if "index-url" in pip:
        wanted["UV_DEFAULT_INDEX"] = pip["index-url"]
    if "extra-index-url" in pip:
        wanted["UV_INDEX"] = " ".join(pip["extra-index-url"].split())
        # pip takes the best version of all indexes, uv the first index that has the package at all.
        wanted["UV_INDEX_STRATEGY"] = "unsafe-best-match"
    if "find-links" in pip:
        wanted["UV_FIND_LINKS"] = ",".join(pip["find-links"].split())
    if pip.get("no-index", "").lower() in ("1", "true", "yes", "on"):
        wanted["UV_NO_INDEX"] = "1"
    if "trusted-host" in pip:
        wanted["UV_INSECURE_HOST"] = " ".join(pip["trusted-host"].split())
    if "proxy" in pip:
        wanted["ALL_PROXY"] = pip["proxy"]
    plain = {"cert": "SSL_CERT_FILE", "client-cert": "SSL_CLIENT_CERT", "timeout": "UV_HTTP_TIMEOUT"}
    wanted.update({name: pip[key] for key, name in plain.items() if key in pip})
    return {name: value for name, value in wanted.items() if name not in environment}


def _files(environment: Mapping[str, str]) -> Iterator[Path]:
    """pip's configuration files, the weakest first."""
    explicit = environment.get("PIP_CONFIG_FILE")
    if explicit == os.devnull:
        return
    home = Path.home()
    if sys.platform == "darwin":
        yield Path("/Library/Application Support/pip/pip.conf")
    else:
        yield from (Path(folder) / "pip/pip.conf" for folder in reversed(_xdg_folders(environment)))
        yield Path("/etc/pip.conf")
    yield home / ".pip/pip.conf"
    support = home / "Library/Application Support/pip"
    is_mac = sys.platform == "darwin" and support.is_dir()
    yield (support if is_mac else Path(environment.get("XDG_CONFIG_HOME") or home / ".config") / "pip") / "pip.conf"
    yield Path(sys.prefix) / "pip.conf"
    if explicit:
        yield Path(explicit)


def _xdg_folders(environment: Mapping[str, str]) -> list[str]:
    return [folder for folder in (environment.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(":") if folder]
