"""3ML, imported with its settings and logs kept inside its own environment and with nothing printed.

Use as `from threeml_quiet import threeML`: the settings have to stand before 3ML is imported.
"""

import logging
import os
import sys
import warnings
from importlib.metadata import version
from pathlib import Path

__all__ = ["VERSIONS", "threeML"]

_SETTINGS = Path(sys.prefix) / "threeml_settings"
_PACKAGES = ("threeML", "astromodels", "ultranest", "iminuit", "numba", "numpy")


def _keep_settings_in_environment() -> None:
    """Point 3ML and astromodels to settings that log into the environment and draw no progress bars."""
    _SETTINGS.mkdir(exist_ok=True)
    logs = f"logging:\n  path: {_SETTINGS / 'log'}\n"
    settings = {"threeml": logs + "interface:\n  progress_bars: false\n", "astromodels": logs}
    for package, text in settings.items():
        folder = _SETTINGS / package
        folder.mkdir(exist_ok=True)
        (folder / "settings.yml").write_text(text)
        os.environ[f"{package.upper()}_CONFIG"] = str(folder)


def _use_one_thread() -> None:
    """What 3ML asks for at its start: its arrays are too small to gain from more threads."""
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"):
        os.environ[variable] = "1"


_keep_settings_in_environment()
_use_one_thread()
logging.disable(logging.CRITICAL)
warnings.simplefilter("ignore")

import threeML  # noqa: E402

VERSIONS = {"python": sys.version.split()[0]} | {package: version(package) for package in _PACKAGES}

if __name__ == "__main__":
    print(VERSIONS)
