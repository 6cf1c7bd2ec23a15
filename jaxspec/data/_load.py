"""A PHA file together with the background, response and ARF files that belong to it."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._fits import Address, OgipError, Repair, address, find_file, names_no_file, say
from ._observation import Background, Observation
from ._pha import Spectrum, read_spectra
from ._response import Response, load_response


def load_observations(
    path: Any, background: Any, response: Any, arf: Any, rows: Any, name: str | None
) -> list[Observation]:
    """The observations of a PHA file; each other file is read once."""
    repairs: list[Repair] = []
    loader = _Loader(background, response, arf)
    result = []
    for spectrum in read_spectra(path, rows, repairs):
        own = list(repairs)
        result.append(loader.observation(spectrum, name, own))
        loader.repairs += own
    say(path, loader.repairs, stacklevel=4)
    return result


class _Loader:
    """Reads the files that spectra name, or those that the user names instead."""

    def __init__(self, background: Any, response: Any, arf: Any) -> None:
        self.given = {"BACKFILE": background, "RESPFILE": response, "ANCRFILE": arf}
        self.repairs: list[Repair] = []
        self.responses: dict[tuple[str, str], tuple[Response, list[Repair]]] = {}

    def file(self, spectrum: Spectrum, keyword: str, argument: str) -> Address | None:
        """The file that the user gives in place of a keyword, or that the keyword names."""
        given = self.given[keyword]
        if given is not None:
            return None if names_no_file(given) else address(given)
        named = spectrum.files[keyword]
        return find_file(named, spectrum.path, keyword, argument) if named else None

    def observation(self, spectrum: Spectrum, name: str | None, repairs: list[Repair]) -> Observation:
        response = self.response(spectrum, repairs)
        response, shifted = matched(spectrum, response, repairs)
        background = self.background(spectrum, repairs)
        default = spectrum.path.name.removesuffix(".gz").rsplit(".", 1)[0]
        if spectrum.row is not None:
            default += f"_{spectrum.row}"
        return Observation(
            spectrum.counts,
            response,
            spectrum.exposure,
            background,
            name=name or default,
            errors=spectrum.errors,
            area_scale=spectrum.area_scale,
            back_scale=spectrum.back_scale,
            quality=spectrum.quality,
            grouping=spectrum.grouping,
            systematic=spectrum.systematic,
            mission=spectrum.mission,
            instrument=spectrum.instrument,
            start=spectrum.start,
            stop=spectrum.stop,
            repairs=tuple(dict.fromkeys(repair.text for repair in repairs)),
        )

    def response(self, spectrum: Spectrum, repairs: list[Repair]) -> Response:
        given = self.given["RESPFILE"]
        if isinstance(given, Response):
            return given
        file = self.file(spectrum, "RESPFILE", "response")
        if file is None:
            raise OgipError(f"{spectrum.where}: RESPFILE names no response; give response=<path or Response>")
        area = self.file(spectrum, "ANCRFILE", "arf")
        key = (str(file), str(area))
        if key not in self.responses:
            found: list[Repair] = []
            arf = None if area is None else _written(area)
            self.responses[key] = (load_response(_written(file), arf, found), found)
        loaded, found = self.responses[key]
        repairs += found
        return loaded

    def background(self, spectrum: Spectrum, repairs: list[Repair]) -> Background | None:
        given = self.given["BACKFILE"]
        if isinstance(given, Background):
            return given
        file = self.file(spectrum, "BACKFILE", "background")
        if file is None:
            return beside(spectrum) if given is None else None
        rows = file.number
        spectra = read_spectra(_written(file._replace(number=None)), rows or "all", repairs, background=True)
        if len(spectra) > 1:
            if spectrum.row is None or spectrum.row > len(spectra):
                raise OgipError(
                    f"{spectra[0].where}: the file holds {len(spectra)} spectra; name one as <file>{{n}}"
                )
            spectra = [spectra[spectrum.row - 1]]
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


def matched(spectrum: Spectrum, response: Response, repairs: list[Repair]) -> tuple[Response, int]:
    """The response of the spectrum's channels, by channel number, and how far the numbers are apart."""
    channels = spectrum.channels
    if np.isin(channels, response.channels).all():
        if channels.size == response.channels.size:
            return response, 0
        repairs.append(
            Repair(
                f"{spectrum.where}: {channels.size} of the {response.channels.size} channels of the response"
            )
        )
        return response.restricted(np.searchsorted(response.channels, channels)), 0
    shift = _shift(channels, response.channels)
    if shift is None:
        raise OgipError(
            f"{spectrum.where}: column CHANNEL runs from {channels[0]} to {channels[-1]} ({channels.size} channels), "
            f"but those of the response {response.name} from {response.channels[0]} to {response.channels[-1]} "
            f"({response.channels.size}); they must have the same numbers: give the response made for this spectrum"
        )
    certain = spectrum.bounds is not None and same_energies(spectrum.bounds, response.channel_low)
    text = f"{spectrum.where}: channels count from {channels[0]}, those of the response from {response.channels[0]}"
    repairs.append(Repair(text + "; matched by position", loud=not certain))
    return response, shift


def _shift(numbers: np.ndarray, wanted: np.ndarray) -> int | None:
    """1 or -1 where that, added to `numbers`, gives the wanted ones exactly."""
    if numbers.size != wanted.size:
        return None
    return next((shift for shift in (1, -1) if np.array_equal(numbers + shift, wanted)), None)


def same_energies(bounds: tuple[np.ndarray, np.ndarray, np.ndarray], low: np.ndarray) -> bool:
    """Whether the EBOUNDS of a file are, row by row, those of the response: then the numbering is no matter."""
    return bounds[1].size == low.size and bool(np.allclose(bounds[1], low, rtol=1e-4, atol=1e-6))


def aligned(background: Spectrum, source: Spectrum, repairs: list[Repair]) -> Background:
    """The background's arrays for the channels of the source, by channel number."""
    order = slice(None)
    if not np.array_equal(background.channels, source.channels):
        if np.isin(source.channels, background.channels).all():
            order = np.searchsorted(background.channels, source.channels)
        elif _shift(background.channels, source.channels) is not None:
            bounds = background.bounds, source.bounds
            certain = (
                bounds[0] is not None and bounds[1] is not None and same_energies(bounds[0], bounds[1][1])
            )
            text = (
                f"{background.where}: channels count from {background.channels[0]}, those of the source from "
            )
            repairs.append(Repair(text + f"{source.channels[0]}; matched by position", loud=not certain))
        else:
            raise OgipError(
                f"{background.where}: column CHANNEL runs from {background.channels[0]} to {background.channels[-1]} "
                f"({background.channels.size} channels), but that of the source {source.where} from "
                f"{source.channels[0]} to {source.channels[-1]} ({source.channels.size}); "
                "give a background with the same channels"
            )

    def part(values: Any) -> Any:
        return values if values is None or np.ndim(values) == 0 else values[order]

    return Background(
        background.counts[order],
        background.exposure,
        errors=part(background.errors),
        area_scale=part(background.area_scale),
        back_scale=part(background.back_scale),
        systematic=part(background.systematic),
        name=str(background.path),
    )
