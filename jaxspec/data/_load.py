"""A PHA file together with the background, response and ARF files that belong to it."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._checks import REGION
from ._fits import Address, OgipError, Repair, address, find_file, names_no_file, say
from ._observation import Background, Observation
from ._pha import Spectrum, read_spectra
from ._response import Response, response_of
from ._rmf import ResponseFile, read_response_file
from ._series import shares_during


def load_observations(
    path: Any, background: Any, response: Any, arf: Any, rows: Any, name: str | None
) -> list[Observation]:
    """The observations of a PHA file; each other file is read once."""
    loader = Loader(background, response, arf)
    repairs: list[Repair] = []
    result = [loader.observation(spectrum, name, repairs) for spectrum in read_spectra(path, rows, repairs)]
    say(path, repairs, stacklevel=4)
    return result


class Loader:
    """Reads the files that spectra name, or those that the user names instead."""

    def __init__(self, background: Any, response: Any, arf: Any) -> None:
        self.given = {"BACKFILE": background, "RESPFILE": response, "ANCRFILE": arf}
        self.files: dict[Address, tuple[ResponseFile, list[Repair]]] = {}
        self.responses: dict[Any, tuple[Response, list[Repair]]] = {}

    def file(self, spectrum: Spectrum, keyword: str, argument: str, given: Any = None) -> Address | None:
        """The file that the user gives in place of a keyword, or that the keyword names."""
        given = self.given[keyword] if given is None else given
        if given is not None:
            return None if names_no_file(given) else address(given)
        named = spectrum.files[keyword]
        return find_file(named, spectrum.path, keyword, argument) if named else None

    def observation(self, spectrum: Spectrum, name: str | None, said: list[Repair]) -> Observation:
        repairs = list(spectrum.repairs)
        response = self.response(spectrum, repairs)
        response = matched(spectrum, response, repairs)
        background = self.background(spectrum, repairs)
        said += repairs
        default = spectrum.path.name.removesuffix(".gz").rsplit(".", 1)[0]
        if spectrum.row is not None:
            default += f"_{spectrum.row}"
        taken = (*REGION, "quality", "grouping", "mission", "instrument", "start", "stop")
        fields: dict[str, Any] = {field: getattr(spectrum, field) for field in taken}
        texts = tuple(dict.fromkeys(repair.text for repair in repairs))
        return Observation(**fields, response=response, background=background, name=name or default, repairs=texts)

    def response(self, spectrum: Spectrum, repairs: list[Repair]) -> Response:
        given = self.given["RESPFILE"]
        if isinstance(given, Response):
            if self.given["ANCRFILE"] is not None and not names_no_file(self.given["ANCRFILE"]):
                raise TypeError("arf= goes with the path of an RMF file; Response.from_ogip(rmf, arf) takes both")
            repairs += [Repair(text) for text in given.repairs]
            return given
        file = self.file(spectrum, "RESPFILE", "response")
        if file is None:
            raise OgipError(f"{spectrum.where}: RESPFILE names no response; give response=<path or Response>")
        area = self.file(spectrum, "ANCRFILE", "arf")
        name = str(file.path)
        if file not in self.files:
            found: list[Repair] = []
            self.files[file] = (read_response_file(file, found, file.number), found)
        content, found = self.files[file]
        by_time: list[Repair] = []
        shares = shares_during(content, name, spectrum.start, spectrum.stop, by_time)
        key = (file, area, None if shares is None else tuple(shares))
        if key not in self.responses:
            made = list(found)
            arf = None if area is None else _written(area)
            self.responses[key] = (response_of(content, name, shares, arf, made), made)
        response, made = self.responses[key]
        repairs += by_time + made
        return response

    def background(self, spectrum: Spectrum, repairs: list[Repair]) -> Background | None:
        given = self.given["BACKFILE"]
        if isinstance(given, (list, tuple)):
            found = [self.one_background(spectrum, each, repairs) for each in given]
            return Background.pooled(*(each for each in found if each is not None))
        return self.one_background(spectrum, given, repairs)

    def one_background(self, spectrum: Spectrum, given: Any, repairs: list[Repair]) -> Background | None:
        """A background that is given, or the one that the file names."""
        if isinstance(given, Background):
            return given
        file = self.file(spectrum, "BACKFILE", "background", given)
        if file is None:
            return beside(spectrum) if given is None else None
        rows = file.number
        spectra = read_spectra(_written(file._replace(number=None)), rows or "all", [], background=True)
        if len(spectra) > 1:
            if spectrum.row is None or spectrum.row > len(spectra):
                raise OgipError(f"{spectra[0].where}: the file holds {len(spectra)} spectra; name one as <file>{{n}}")
            spectra = [spectra[spectrum.row - 1]]
        if (spectra[0].path, spectra[0].extension) == (spectrum.path, spectrum.extension):
            raise OgipError(f"{spectrum.where}: BACKFILE names the spectrum itself; give background=<path> or 'none'")
        repairs += spectra[0].repairs
        return aligned(spectra[0], spectrum, repairs)


def _written(file: Address) -> str:
    extension = "" if file.extension is None else f"[{file.extension}]"
    return f"{file.path}{extension}" + ("" if file.number is None else f"{{{file.number}}}")


def beside(spectrum: Spectrum) -> Background | None:
    """The background strips that a Chandra grating file carries in columns of their own."""
    if spectrum.sides is None:
        return None
    counts, scale = spectrum.sides
    return Background(
        counts,
        spectrum.exposure,
        area_scale=spectrum.area_scale,
        back_scale=scale,
        name=f"{spectrum.where} strips",
    )


def matched(spectrum: Spectrum, response: Response, repairs: list[Repair]) -> Response:
    """The response of the spectrum's channels, by channel number, or by position where that is 1 off."""
    channels = spectrum.channels
    if np.isin(channels, response.channels).all():
        if channels.size == response.channels.size:
            return response
        repairs.append(
            Repair(f"{spectrum.where}: {channels.size} of the {response.channels.size} channels of the response")
        )
        return response.restricted(np.searchsorted(response.channels, channels))
    if not one_off(channels, response.channels):
        raise OgipError(
            f"{spectrum.where}: {_lost(channels, response.channels)} the response {response.name}, "
            f"{span(response.channels)}; give the response made for this spectrum"
        )
    certain = spectrum.bounds is not None and same_energies(spectrum.bounds, response.channel_low)
    text = f"{spectrum.where}: channels run {span(channels)}, those of the response {span(response.channels)}"
    repairs.append(Repair(text + "; matched by position", loud=not certain))
    return response


def span(channels: np.ndarray) -> str:
    """Channel numbers in words."""
    return f"from {channels[0]} to {channels[-1]} ({channels.size} channels)"


def _lost(channels: np.ndarray, among: np.ndarray) -> str:
    """The first channel that the others lack, in words."""
    row = int(np.argmin(np.isin(channels, among)))
    return f"column CHANNEL runs {span(channels)}, but row {row + 1}, channel {channels[row]}, is none of those of"


def one_off(numbers: np.ndarray, wanted: np.ndarray) -> bool:
    """Whether the numbers are all 1 above or all 1 below the wanted ones."""
    return any(np.array_equal(numbers + shift, wanted) for shift in (1, -1))


def same_energies(bounds: tuple[np.ndarray, np.ndarray, np.ndarray], low: np.ndarray) -> bool:
    """Whether the EBOUNDS of a file are, row by row, those of the response: numbers do not matter then."""
    return bounds[1].size == low.size and bool(np.allclose(bounds[1], low, rtol=1e-4, atol=1e-6))


def aligned(background: Spectrum, source: Spectrum, repairs: list[Repair]) -> Background:
    """The background's arrays for the channels of the source, by channel number."""
    order = slice(None)
    if not np.array_equal(background.channels, source.channels):
        if np.isin(source.channels, background.channels).all():
            order = np.searchsorted(background.channels, source.channels)
        elif one_off(background.channels, source.channels):
            ours, theirs = background.bounds, source.bounds
            certain = ours is not None and theirs is not None and same_energies(ours, theirs[1])
            text = f"{background.where}: channels run {span(background.channels)}, those of the source "
            repairs.append(Repair(text + f"{span(source.channels)}; matched by position", loud=not certain))
        else:
            raise OgipError(
                f"{source.where}: {_lost(source.channels, background.channels)} the background "
                f"{background.where}, {span(background.channels)}; give a background with the same channels"
            )

    def part(values: Any) -> Any:
        return values if values is None or np.ndim(values) == 0 else values[order]

    fields = {field: part(getattr(background, field)) for field in REGION}
    return Background(**fields, name=str(background.path))
