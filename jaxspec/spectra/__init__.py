"""Spectral components and the algebra that joins them: `additive + additive`, `multiplicative * any`, `convolution(additive)`."""

from jaxspec.parameters import parameter
from jaxspec.spectra._base import (
    AbstractAdditive,
    AbstractComponent,
    AbstractConvolution,
    AbstractMultiplicative,
    AbstractSpectrum,
)
from jaxspec.spectra._bursts import Band, BandPeak
from jaxspec.spectra._powerlaws import CutoffPowerLaw, CutoffPowerLawPeak, LogParabola, PowerLaw, PowerLawFlux
from jaxspec.spectra._scales import Constant, Redshift
from jaxspec.spectra._thermal import Blackbody

__all__ = [
    "AbstractAdditive",
    "AbstractComponent",
    "AbstractConvolution",
    "AbstractMultiplicative",
    "AbstractSpectrum",
    "Band",
    "BandPeak",
    "Blackbody",
    "Constant",
    "CutoffPowerLaw",
    "CutoffPowerLawPeak",
    "LogParabola",
    "PowerLaw",
    "PowerLawFlux",
    "Redshift",
    "parameter",
]
