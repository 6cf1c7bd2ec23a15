"""`Result.plot_counts` and `Result.plot_qq`: what is drawn are the numbers of the likelihood."""

import jax
import matplotlib.pyplot as plt
import numpy as np
import pytest
from numpy.testing import assert_allclose

from jaxspec import statistics


def values_of(best):
    return {name: best.values[name] for name in best.problem.names}


def widths(selection):
    return selection.channel_high - selection.channel_low


def residuals(ax):
    return np.asarray(ax.containers[0].lines[0].get_ydata())


def test_total_without_background_is_the_expected_counts_per_kev(best, lines):
    figure = best.plot_counts("bare")
    drawn = lines(figure.axes[0], "total, 68 %") * widths(best.problem.selections[1])
    assert_allclose(drawn, best.problem.expected_counts(values_of(best))["bare"], rtol=1e-9)


def test_total_with_background_is_what_the_w_statistic_compares_with_the_counts(best, lines):
    figure = best.plot_counts("with background")
    selection = best.problem.selections[0]
    source = np.asarray(best.problem.expected_counts(values_of(best))["with background"])
    # The best background b solves S a / (s + a b) + B / b = 1 + a (Wachter, Leach & Kellogg 1979).
    total = lines(figure.axes[0], "total, 68 %") * widths(selection)
    b = (total - source) / selection.ratio
    assert_allclose(
        selection.counts * selection.ratio / total + selection.background / b, 1 + selection.ratio, rtol=1e-8
    )
    assert_allclose(lines(figure.axes[0], "background") * widths(selection), total - source, rtol=1e-8)
    assert_allclose(lines(figure.axes[0], "star") * widths(selection), source, rtol=1e-8)


def test_squared_residuals_are_the_statistic_of_each_bin(best):
    figure = best.plot_counts()
    expected = best.problem.statistic_per_bin(values_of(best))
    for lower, label in zip(figure.axes[1::2], best.problem.labels):
        assert_allclose(residuals(lower) ** 2, expected[label], rtol=1e-7, atol=1e-9)


def test_residuals_are_positive_where_counts_exceed_the_model(best, lines):
    figure = best.plot_counts("bare")
    selection = best.problem.selections[1]
    excess = selection.counts / widths(selection) - lines(figure.axes[0], "total, 68 %")
    assert_allclose(np.sign(residuals(figure.axes[1])), np.sign(excess))


def test_sources_add_up_to_the_model(best, lines):
    ax = best.plot_counts("bare").axes[0]
    assert_allclose(lines(ax, "star") + lines(ax, "pulsar"), lines(ax, "total, 68 %"), rtol=1e-9)


def test_components_add_up_to_their_source(best, lines):
    by_source = best.plot_counts("bare").axes[0]
    by_component = best.plot_counts("bare", components=True).axes[0]
    total = lines(by_component, "pulsar: powerlaw") + lines(by_component, "pulsar: blackbody")
    assert_allclose(total, lines(by_source, "pulsar"), rtol=1e-9)
    assert_allclose(lines(by_component, "star"), lines(by_source, "star"), rtol=1e-9)


def display(figure, label, lines):
    """Counts in the steps of a line, from its heights and edges."""
    (line,) = [line for line in figure.axes[0].lines if line.get_label() == label]
    x = np.asarray(line.get_xdata())
    return lines(figure.axes[0], label) * (x[1::3] - x[::3]), x[::3], x[1::3]


@pytest.mark.parametrize("thresholds", [{"min_counts": 40}, {"min_significance": 5}])
def test_bins_joined_for_display_keep_the_sums(best, lines, thresholds):
    alone = best.plot_counts("with background")
    joined = best.plot_counts("with background", **thresholds)
    fine, grouped = display(alone, "star", lines)[0], display(joined, "star", lines)[0]
    assert len(grouped) < len(fine)
    assert_allclose(grouped.sum(), fine.sum(), rtol=1e-9)


def test_residuals_of_joined_bins_are_those_of_the_summed_data(best, lines):
    figure = best.plot_counts("with background", min_counts=40)
    source, low, high = display(figure, "star", lines)
    selection = best.problem.selections[0]
    inside = [(selection.channel_low >= a * 0.999) & (selection.channel_high <= b * 1.001) for a, b in zip(low, high)]
    counts, background = (
        np.array([values[bins].sum() for bins in inside]) for values in (selection.counts, selection.background)
    )
    assert counts.sum() == selection.counts.sum()
    expected = statistics.wstat(source, counts, background, selection.ratio[0])
    assert_allclose(residuals(figure.axes[1]) ** 2, expected, rtol=1e-6, atol=1e-9)


def test_band_of_a_posterior_holds_its_level_of_the_draws(posterior, lines):
    figure = posterior.plot_counts("bare", level=0.9)
    selection = posterior.problem.selections[1]
    density = posterior.problem.density
    every = jax.vmap(density.expected_counts)(posterior.points)
    folded = np.asarray([density.split(row)[1] for row in np.asarray(every)])
    low, high = np.quantile(folded, [0.05, 0.95], axis=0)
    ax = figure.axes[0]
    (band,) = [band for band in ax.collections if band.get_label() == "total, 90 %"]
    heights = np.concatenate([path.vertices[:, 1] for path in band.get_paths()])
    assert_allclose(heights.max(), (high / widths(selection)).max(), rtol=1e-6)
    assert_allclose(heights.min(), (low / widths(selection)).min(), rtol=1e-6)
    assert_allclose(lines(ax, "total, 90 %") * widths(selection), np.median(folded, axis=0), rtol=1e-9)


def test_rate_is_counts_divided_by_exposure(best, lines):
    counts = lines(best.plot_counts("bare").axes[0], "star")
    figure = best.plot_counts("bare", rate=True)
    assert_allclose(lines(figure.axes[0], "star"), counts / 40.0, rtol=1e-9)
    assert figure.axes[0].get_ylabel() == r"Counts [$\mathrm{s}^{-1}\,\mathrm{keV}^{-1}$]"


def test_axes_titles_and_legend_say_what_is_shown(best):
    figure = best.plot_counts()
    assert [ax.get_title() for ax in figure.axes[::2]] == ["with background", "bare", "gaussian"]
    assert {ax.get_ylabel() for ax in figure.axes[::2]} == {"Counts per keV"}
    assert {ax.get_ylabel() for ax in figure.axes[1::2]} == {r"Residual [$\sigma$]"}
    assert {ax.get_xlabel() for ax in figure.axes[1::2]} == {"Channel energy [keV]"}
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["counts", "total, 68 %", "star", "pulsar", "background"]


def test_lines_break_where_channels_are_left_out(best):
    ax = best.plot_counts("with background").axes[0]
    (line,) = [line for line in ax.lines if line.get_label() == "star"]
    x, y = line.get_xdata(), line.get_ydata()
    assert np.isnan(y[(x > 9) & (x < 25)]).any()


def test_no_figure_stays_open_and_no_setting_changes(best):
    before = dict(plt.rcParams)
    best.plot_counts()
    best.plot_spectrum()
    best.corner(["star.powerlaw.K", "star.powerlaw.index"])
    best.plot_qq()
    assert plt.get_fignums() == []
    assert dict(plt.rcParams) == before


def test_unknown_observation_is_an_error_that_offers_the_nearest(best):
    with pytest.raises(KeyError, match="no observation is called 'bar'; did you mean 'bare'"):
        best.plot_counts("bar")
    with pytest.raises(KeyError, match="no observation is called 'bar'"):
        best.plot_qq(["bar"])


@pytest.mark.parametrize("threshold", ["min_counts", "min_significance"])
def test_threshold_that_is_not_positive_is_an_error(best, threshold):
    with pytest.raises(ValueError, match=f"{threshold} must be positive, got 0"):
        best.plot_counts(**{threshold: 0})


def test_qq_ends_at_the_sums_of_counts_and_model(best):
    figure = best.plot_qq("bare")
    upper, lower = figure.axes
    (line,) = [line for line in upper.lines if line.get_label().startswith("sum")]
    assert line.get_ydata()[-1] == best.problem.selections[1].counts.sum()
    expected = np.sum(best.problem.expected_counts(values_of(best))["bare"])
    assert_allclose(line.get_xdata()[-1], expected, rtol=1e-9)
    assert (lower.get_xlabel(), upper.get_ylabel()) == ("Expected counts", "Observed counts")
    assert_allclose(lower.lines[-1].get_ydata(), line.get_ydata() - line.get_xdata(), rtol=1e-9)
