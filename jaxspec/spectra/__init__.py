"""Spectral components and the algebra that joins them: `A + A`, `M * A`, `M * M`, `C(A)`."""

from jaxspec.parameters import parameter
from jaxspec.spectra._absorption import Phabs, TBabs, VariablePhabs, Wabs
from jaxspec.spectra._base import (
    AbstractAdditive,
    AbstractComponent,
    AbstractConvolution,
    AbstractMultiplicative,
    AbstractSpectrum,
)
from jaxspec.spectra._bremsstrahlung import Bremsstrahlung
from jaxspec.spectra._broken import (
    BrokenPowerLaw,
    DoublyBrokenPowerLaw,
    DoublySmoothlyBrokenPowerLaw,
    SmoothlyBrokenPowerLaw,
)
from jaxspec.spectra._bursts import (
    Band,
    BandEnergyFlux,
    BandPeak,
    NonDissipativePhotosphere,
    NonDissipativePhotosphereDeep,
)
from jaxspec.spectra._comptonization import CompTT, NthComp, ThermalComptonization
from jaxspec.spectra._convolutions import EnergyFlux, Luminosity, PartialCovering, PhotonFlux, VelocityShift
from jaxspec.spectra._curved import LogParabola, LogParabola10, LogParabolaPeak
from jaxspec.spectra._disks import DiskBlackbody, DiskPowerLawBlackbody
from jaxspec.spectra._extinction import DustExtinction, GalacticExtinction
from jaxspec.spectra._factors import (
    ComptonScattering,
    CyclotronAbsorption,
    Edge,
    ExponentialFactor,
    GaussianAbsorption,
    HighEnergyCutoff,
    LowEnergyCutoff,
    PowerLawFactor,
    SmearedEdge,
    SuperExponentialCutoff,
)
from jaxspec.spectra._lines import GaussianLine, LorentzLine, VoigtLine
from jaxspec.spectra._made import from_function
from jaxspec.spectra._plasma import Apec, VariableApec
from jaxspec.spectra._powerlaws import (
    CutoffPowerLaw,
    CutoffPowerLawFlux,
    CutoffPowerLawPeak,
    ExponentialDecay,
    InverseCutoffPowerLaw,
    PowerLaw,
    PowerLawEnergyFlux,
    PowerLawFlux,
    SuperCutoffPowerLaw,
)
from jaxspec.spectra._redistribution import GaussianSmoothing, LorentzSmoothing, PowerLawComptonization
from jaxspec.spectra._sampled_tables import dark_matter_from_arrays, ebl_from_arrays
from jaxspec.spectra._scales import Constant, Redshift
from jaxspec.spectra._synchrotron import Synchrotron
from jaxspec.spectra._table_files import table_from_ogip
from jaxspec.spectra._tables import table_from_arrays
from jaxspec.spectra._thermal import Blackbody, BlackbodyLuminosity, BlackbodyRadius, ModifiedBlackbody
from jaxspec.spectra._variable_tbabs import VariableTBabs
from jaxspec.spectra._wavelength_lines import GaussianLineWavelength
from jaxspec.spectra._xspec import xspec

__all__ = [
    "AbstractAdditive",
    "AbstractComponent",
    "AbstractConvolution",
    "AbstractMultiplicative",
    "AbstractSpectrum",
    "Apec",
    "Band",
    "BandEnergyFlux",
    "BandPeak",
    "Blackbody",
    "BlackbodyLuminosity",
    "BlackbodyRadius",
    "Bremsstrahlung",
    "BrokenPowerLaw",
    "CompTT",
    "ComptonScattering",
    "Constant",
    "CutoffPowerLaw",
    "CutoffPowerLawFlux",
    "CutoffPowerLawPeak",
    "CyclotronAbsorption",
    "DiskBlackbody",
    "DiskPowerLawBlackbody",
    "DoublyBrokenPowerLaw",
    "DoublySmoothlyBrokenPowerLaw",
    "DustExtinction",
    "Edge",
    "EnergyFlux",
    "ExponentialDecay",
    "ExponentialFactor",
    "GalacticExtinction",
    "GaussianAbsorption",
    "GaussianLine",
    "GaussianLineWavelength",
    "GaussianSmoothing",
    "HighEnergyCutoff",
    "InverseCutoffPowerLaw",
    "LogParabola",
    "LogParabola10",
    "LogParabolaPeak",
    "LorentzLine",
    "LorentzSmoothing",
    "LowEnergyCutoff",
    "Luminosity",
    "ModifiedBlackbody",
    "NonDissipativePhotosphere",
    "NonDissipativePhotosphereDeep",
    "NthComp",
    "PartialCovering",
    "Phabs",
    "PhotonFlux",
    "PowerLaw",
    "PowerLawComptonization",
    "PowerLawEnergyFlux",
    "PowerLawFactor",
    "PowerLawFlux",
    "Redshift",
    "SmearedEdge",
    "SmoothlyBrokenPowerLaw",
    "SuperCutoffPowerLaw",
    "SuperExponentialCutoff",
    "Synchrotron",
    "TBabs",
    "ThermalComptonization",
    "VariableApec",
    "VariablePhabs",
    "VariableTBabs",
    "VelocityShift",
    "VoigtLine",
    "Wabs",
    "dark_matter_from_arrays",
    "ebl_from_arrays",
    "from_function",
    "parameter",
    "table_from_arrays",
    "table_from_ogip",
    "xspec",
]
