"""`Result.corner`: labels, numbers and what cannot be drawn."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from jaxspec.plots._corner import Column, corner, quoted


def test_labels_have_source_component_and_unit(best):
    figure = best.corner(["star.powerlaw.K", "pulsar.blackbody.kT"])
    assert [ax.get_xlabel() for ax in figure.axes[2:]] == [
        "star\npowerlaw\nK [$\\mathrm{cm}^{-2}\\,\\mathrm{s}^{-1}\\,\\mathrm{keV}^{-1}$]",
        "pulsar\nblackbody\nkT [$\\mathrm{keV}$]",
    ]


def test_free_parameters_are_drawn_by_default(posterior):
    n = len(posterior.problem.names)
    assert len(posterior.corner().axes) == n * n


def test_one_parameter_can_be_drawn(posterior):
    (ax,) = posterior.corner("star.powerlaw.index").axes
    assert ax.get_xlabel() == "star\npowerlaw\nindex"


def test_best_value_is_marked(best):
    (ax,) = best.corner("star.powerlaw.index").axes
    marks = [float(np.ravel(line.get_xdata())[0]) for line in ax.lines]
    assert best.values["star.powerlaw.index"] in marks


def test_interval_is_marked(posterior):
    (ax,) = posterior.corner("star.powerlaw.K", level=0.9).axes
    marks = sorted(float(np.ravel(line.get_xdata())[0]) for line in ax.lines)
    assert_allclose(marks, np.quantile(posterior.draws("star.powerlaw.K"), [0.05, 0.5, 0.95]), rtol=1e-9)


def test_small_numbers_are_shown_in_powers_of_ten():
    draws = 4.67e-8 + 2.9e-9 * np.random.default_rng(1).standard_normal(500)
    column = Column("src1.blackbody.K", "1 / (cm2 s keV3)", draws, 4.67e-8, 4.38e-8, 4.96e-8)
    (ax,) = corner([column], figsize=None).axes
    assert ax.get_title() == r"$4.67_{-0.29}^{+0.29} \times 10^{-8}$"
    assert "K [$10^{-8}$ " in ax.get_xlabel()
    assert 3 < ax.get_xlim()[0] < ax.get_xlim()[1] < 7


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ((512.34, 503.1, 521.8, 0), "$512.3_{-9.2}^{+9.5}$"),
        ((-1.5111, -1.5214, -1.5009, 0), "$-1.511_{-0.010}^{+0.010}$"),
        ((617.0, 585.0, 650.0, 0), "$617_{-32}^{+33}$"),
    ],
)
def test_numbers_have_two_digits_of_their_error(numbers, text):
    assert quoted(*numbers) == text


def test_what_cannot_be_drawn_is_an_error(posterior):
    with pytest.raises(ValueError, match=r"pulsar\.powerlaw\.index is frozen: it has one value"):
        posterior.corner(["pulsar.powerlaw.index"])
    with pytest.raises(KeyError, match=r"no parameter is called 'star\.powerlaw\.k'; did you mean 'star\.powerlaw\.K'"):
        posterior.corner(["star.powerlaw.k"])
