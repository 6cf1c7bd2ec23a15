"""What the README shows runs as it stands."""

from pathlib import Path

import numpy as np

README = Path(__file__).parents[1] / "README.md"


def test_the_example_of_the_readme_finds_the_flux_that_was_simulated(monkeypatch):
    monkeypatch.chdir(README.parent)
    example = README.read_text().split("```python\n")[1].split("```")[0]
    names = {}
    exec(example, names)
    flux = names["posterior"].flux(1, 1000, "erg / (cm2 s)", level=0.999)
    # K T^4 times the integral of x^3 / (exp(x) - 1) up to x = 2, 1.1763 (mpmath), and 1.602177e-9 erg / keV.
    truth = 5e-8 * 500.0**4 * 1.1763426 * 1.602177e-9
    low, high = (flux[bound]["src1: total"].value for bound in ("low bound", "hi bound"))
    assert low < truth < high
    np.testing.assert_allclose(flux["flux"]["src1: total"].value, truth, rtol=0.25)
