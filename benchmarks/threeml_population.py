"""The Band function on each spectrum of a folder in 3ML, one after the other, by Minuit with its covariance.

Runs in the environment made by `setup_threeml.sh`; `population.py --threeml` calls it. Prints one line of JSON: CPU and
wall seconds for each fit, reading excluded, and the statistic reached, as -ln L.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

from threeml_quiet import VERSIONS, threeML


def build_model() -> Any:
    """At the values that jaxspec starts from: their peak energy is (2 + alpha) times the cut-off."""
    shape = threeML.Band(K=0.03, alpha=-0.9, xp=220.0, beta=-2.4, piv=100.0)
    return threeML.Model(threeML.PointSource("grb", ra=0, dec=0, spectral_shape=shape))


def plugin(path: Path, response: Path) -> Any:
    """A spectrum with its background beside it."""
    background = path.with_name(f"{path.stem}_bkg.pha")
    files = {"observation": str(path), "background": str(background), "response": str(response)}
    return threeML.OGIPLike(path.stem, **files, verbose=False)


def main() -> None:
    """Fit every spectrum of the folder; the first twice, since numba compiles for it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("response", type=Path)
    arguments = parser.parse_args()
    paths = sorted(arguments.folder.glob("s???.pha"))
    walls, cpus, reached = [], [], []
    for path in [paths[0], *paths]:
        data = threeML.DataList(plugin(path, arguments.response))
        wall, cpu = time.perf_counter(), time.process_time()
        joint = threeML.JointLikelihood(build_model(), data)
        joint.fit(quiet=True)
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
        reached.append(float(joint.current_minimum))
    print(json.dumps({"wall": walls[1:], "cpu": cpus[1:], "minus_lnL": reached[1:], "versions": VERSIONS}))


if __name__ == "__main__":
    main()
