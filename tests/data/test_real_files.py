"""The files of the shared folder, against plain astropy and against numbers of other systems.

Numbers of other systems are those of shared/reference/real_fits.md, which says where each comes from.
"""

import numpy as np
import pytest
from astropy.io import fits
from numpy.testing import assert_allclose, assert_array_equal

from jaxspec.data import Observation, RepairWarning, Response

GBM = "gbm_bn090217206/bn090217206"
CRAB = {
    "fermi": ["obs0"],
    "magic": ["obs5029747", "obs5029748"],
    "hess": ["obs23523", "obs23526", "obs23559", "obs23592"],
    "veritas": ["obs54809", "obs57993"],
    "fact": ["stacked"],
}
RANGES = {"fermi": "0.03-2", "magic": "0.08-30", "hess": "0.66-30", "veritas": "0.15-30", "fact": "0.4-30"}


def plain_matrix(path, first, extension="MATRIX"):
    """(n_channels, n_energies), by a loop over groups; F_CHAN counts channels from `first`."""
    with fits.open(path) as hdus:
        data, n_channels = hdus[extension].data, len(hdus["EBOUNDS"].data)
        result = np.zeros((n_channels, len(data)))
        for row, record in enumerate(data):
            start = 0
            firsts, lengths = np.atleast_1d(record["F_CHAN"]), np.atleast_1d(record["N_CHAN"])
            for group in range(record["N_GRP"]):
                channel, length = firsts[group] - first, lengths[group]
                result[channel : channel + length, row] = record["MATRIX"][start : start + length]
                start += length
    return result


def plain_column(path, extension, column):
    with fits.open(path) as hdus:
        return np.array(hdus[extension].data[column], dtype=float)


RESPONSES = [
    ("demo/ogip_powerlaw.rsp", None, 1, "SPECRESP MATRIX"),
    ("chandra_3c273/3c273.rmf", "chandra_3c273/3c273.arf", 1, "MATRIX"),
    (f"{GBM}_n6_weightedrsp.rsp", None, 1, "SPECRESP MATRIX"),
    (f"{GBM}_b1_weightedrsp.rsp", None, 1, "SPECRESP MATRIX"),
    ("swift_xrt/xrt.rmf.gz", "swift_xrt/xrt.arf", 0, "MATRIX"),
    ("xmm_pn/pnS004-A2443_reg2.rmf.gz", "xmm_pn/pnS004-A2443_reg2.arf", 0, "MATRIX"),
    ("xmm_ulx4/PN.rmf.gz", "xmm_ulx4/PN.arf", 0, "MATRIX"),
    *(
        (f"joint_crab/{name}/rmf_{run}.fits", f"joint_crab/{name}/arf_{run}.fits", 0, "MATRIX")
        for name, runs in CRAB.items()
        for run in runs
    ),
]


@pytest.mark.parametrize(("rmf", "arf", "first", "extension"), RESPONSES, ids=[item[0] for item in RESPONSES])
def test_responses_agree_with_a_plain_reading(shared, rmf, arf, first, extension):
    expected = plain_matrix(shared / rmf, first, extension)
    if arf is not None:
        expected *= plain_column(shared / arf, "SPECRESP", "SPECRESP")
    response = Response.from_ogip(shared / rmf, None if arf is None else shared / arf)
    assert_array_equal(response.matrix.toarray(), expected)
    assert_array_equal(response.energy_high, plain_column(shared / rmf, extension, "ENERG_HI"))
    assert_array_equal(response.channel_low, plain_column(shared / rmf, "EBOUNDS", "E_MIN"))
    assert_array_equal(response.channels, plain_column(shared / rmf, "EBOUNDS", "CHANNEL"))


def test_the_exosat_response_loses_only_its_empty_first_row(shared):
    # Its ENERG_LO is above its ENERG_HI, and no group follows.
    response = Response.from_ogip(shared / "exosat/s54405.rsp")
    expected = plain_matrix(shared / "exosat/s54405.rsp", 1, "SPECRESP MATRIX")
    assert expected[:, 0].sum() == 0
    assert_array_equal(response.matrix.toarray(), expected[:, 1:])
    assert len(response.repairs) == 1


@pytest.mark.parametrize("number", [1, 2, 3])
def test_every_matrix_of_a_gbm_series_agrees_with_a_plain_reading(shared, number):
    path = shared / "gbm_rsp2/glg_cspec_n3_bn080916009_v00.rsp2"
    response = Response.from_ogip(path, number=number)
    assert_array_equal(response.matrix.toarray(), plain_matrix(path, 1, number + 1))
    assert_array_equal(response.channels, np.arange(128))


def test_a_gbm_series_is_weighted_by_exposure(shared):
    path = shared / "gbm_rsp2/glg_cspec_n3_bn080916009_v00.rsp2"
    # The first matrix ends, and the second begins, at 243216814.2301 s.
    mixed = Response.from_ogip(path, time=(243216804.2301, 243216844.2301))
    first, second = (Response.from_ogip(path, number=number).matrix.toarray() for number in (1, 2))
    assert_allclose(mixed.matrix.toarray(), 0.25 * first + 0.75 * second, rtol=1e-9)


@pytest.mark.parametrize(
    ("detector", "channels", "counts"), [("n6", 117, 26303), ("n9", 115, 30045), ("b1", 122, 28182)]
)
def test_gbm_selections_are_those_of_3ml(shared, detector, channels, counts):
    ranges = ["250-43000 keV"] if detector == "b1" else ["10-30 keV", "40-950 keV"]
    selection = Observation.from_ogip(shared / f"{GBM}_{detector}_srcspectra.pha").notice(*ranges).selection()
    assert selection.counts.size == channels
    assert selection.counts.sum() == counts
    assert selection.statistic == "pgstat"


def test_the_gbm_background_is_rate_times_exposure(shared):
    background = Observation.from_ogip(shared / f"{GBM}_n6_srcspectra.pha").background
    path = shared / f"{GBM}_n6_bkgspectra.bak"
    assert background.exposure == 20
    assert_array_equal(background.counts, 20 * plain_column(path, "SPECTRUM", "RATE")[0])
    assert_array_equal(background.errors, 20 * plain_column(path, "SPECTRUM", "STAT_ERR")[0])


@pytest.mark.parametrize(("detector", "exposure"), [("n6", 19.912715615), ("n9", 19.905771426), ("b1", 19.893596812)])
def test_gbm_exposures_are_those_of_the_row(shared, detector, exposure):
    assert Observation.from_ogip(shared / f"{GBM}_{detector}_srcspectra.pha").exposure == pytest.approx(
        exposure, rel=1e-14
    )


def test_a_gbm_series_is_read_row_by_row(shared):
    response = Response.from_ogip(shared / "gbm_rsp2/glg_cspec_n3_bn080916009_v00.rsp2", number=1)
    path = shared / "gbm_rsp2/glg_cspec_n3_bn080916009_v01.pha"
    # Row 1146 has an exposure of -0.0144 s.
    with pytest.warns(RepairWarning, match=r"1 rows without positive EXPOSURE left out \(1146\)"):
        observations = Observation.all_from_ogip(path, response=response)
    assert len(observations) == 1858
    counts = plain_column(path, "SPECTRUM", "COUNTS")
    assert_array_equal(observations[100].counts, counts[100])
    assert_array_equal(observations[-1].counts, counts[-1])
    fifth = Observation.from_ogip(path, response=response, row=5)
    assert fifth.start == plain_column(path, "SPECTRUM", "TIME")[4]


def test_exosat_has_the_rate_and_the_bins_of_the_xspec_manual(shared):
    observation = Observation.from_ogip(shared / "exosat/s54405.pha", response=shared / "exosat/s54405.rsp")
    assert_array_equal(observation.response.channels, np.arange(4, 129))
    assert_allclose(observation.counts.sum() / observation.exposure, 3.783258, rtol=1e-6)
    assert_allclose(np.sqrt((observation.errors**2).sum()) / observation.exposure, 0.136728, rtol=1e-5)
    selection = observation.ignore("bad", "15.0-**").selection()
    assert selection.counts.size == 45
    assert selection.statistic == "chi2"
    assert_allclose(selection.area_scale, 1668.763306)


@pytest.mark.parametrize(
    ("method", "everything", "part"), [("file", 46, 35), (None, 1024, 375)], ids=["grouped", "ungrouped"]
)
def test_chandra_bins_are_those_of_sherpa(shared, method, everything, part):
    observation = Observation.from_ogip(shared / "chandra_3c273/3c273.pi").group(method)
    assert observation.selection().counts.size == everything
    assert observation.ignore("**-0.5", "3-4", "7-**").selection().counts.size == part


def test_chandra_counts_are_poisson_though_poisserr_says_no(shared):
    observation = Observation.from_ogip(shared / "chandra_3c273/3c273.pi")
    assert observation.statistic == "wstat"
    assert observation.counts.sum() == plain_column(shared / "chandra_3c273/3c273.pi", "SPECTRUM", "COUNTS").sum()
    assert_allclose(observation.selection().ratio, 2.5264364698914e-06 / 1.872535141462e-05, rtol=1e-12)


@pytest.mark.parametrize(
    ("instrument", "bins"), [("fermi", 36), ("magic", 100), ("hess", 124), ("veritas", 90), ("fact", 36)]
)
def test_joint_crab_bins_are_those_of_the_paper(shared, instrument, bins):
    # veritas and fact: what is left of 386 in all; their sum is checked by the others.
    total = 0
    for run in CRAB[instrument]:
        path = shared / f"joint_crab/{instrument}/pha_{run}.fits"
        observation = Observation.from_ogip(path).ignore("bad")
        assert observation.counts.sum() == plain_column(path, "SPECTRUM", "COUNTS").sum()
        total += observation.notice(f"{RANGES[instrument]} TeV", partial=False).selection().counts.size
    assert total == bins


def test_joint_crab_backgrounds_scale_by_their_regions(shared):
    observation = Observation.from_ogip(shared / "joint_crab/hess/pha_obs23523.fits")
    assert observation.background.counts.sum() == 229
    assert_allclose(observation.selection().ratio, 1 / 12, rtol=1e-12)


def test_xmm_groups_are_those_of_elisa(shared):
    observation = Observation.from_ogip(shared / "xmm_ulx4/PN_spectrum_grp20.fits")
    selection = observation.notice("0.5-8 keV", partial=False).selection()
    assert selection.counts.size == 102
    assert (selection.background == 0).sum() == 1
    assert_allclose(selection.ratio, 2010100 / 6866200, rtol=1e-12)


def test_xmm_counts_agree_with_a_plain_reading(shared):
    for name in ("xmm_ulx4/PN.pha", "xmm_ulx4/PN_spectrum_grp20.fits", "xmm_pn/pnS004-A2443_reg2.fak"):
        counts = Observation.from_ogip(shared / name).counts
        assert_array_equal(counts, plain_column(shared / name, "SPECTRUM", "COUNTS"))


def test_swift_files_are_read_with_files_given_by_hand(shared):
    folder = shared / "swift_xrt"
    observation = Observation.from_ogip(
        folder / "xrt_src.pha", folder / "xrt_bkg.pha.gz", folder / "xrt.rmf.gz", folder / "xrt.arf"
    )
    assert observation.counts.sum() == plain_column(folder / "xrt_src.pha", "SPECTRUM", "COUNTS").sum()
    assert observation.background.exposure == 572.1246273263523
    # Sherpa issue 1211: channels 30 to 799 of 0.01 keV.
    chosen = observation.group(None).ignore("**-0.3", "8.0-**")
    assert_array_equal(chosen.response.channels[chosen.selection().groups >= 0], np.arange(30, 800))
    assert_allclose(observation.selection().ratio, 49.91755 * 9.5e-5 / (572.1246273263523 * 0.999999))
    assert any("starts at 0" in text for text in observation.repairs)


def test_demo_files_are_read(shared):
    folder = shared / "demo"
    observation = Observation.from_ogip(folder / "ogip_powerlaw.pha", folder / "ogip_powerlaw.bak")
    assert observation.counts.sum() == plain_column(folder / "ogip_powerlaw.pha", "SPECTRUM", "COUNTS").sum()
    assert observation.selection().ratio[0] == 200 / 5000


@pytest.mark.parametrize(
    "name", [f"{GBM}_n6_srcspectra.pha", "chandra_3c273/3c273.pi", "joint_crab/hess/pha_obs23523.fits"]
)
def test_real_observations_are_written_and_read_back(shared, tmp_path, name):
    observation = Observation.from_ogip(shared / name)
    back = Observation.from_ogip(observation.to_ogip(tmp_path))
    assert_array_equal(back.counts, observation.counts)
    assert_array_equal(back.background.counts, observation.background.counts)
    assert_array_equal(back.selection().ratio, observation.selection().ratio)
    assert_array_equal(back.response.matrix.toarray(), observation.response.matrix.toarray())
    assert back.statistic == observation.statistic
