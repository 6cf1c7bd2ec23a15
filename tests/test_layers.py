"""A file imports only from the layers below its own."""

import ast
from pathlib import Path

import pytest

import jaxspec

PACKAGE = Path(jaxspec.__file__).parent
# From the bottom up. `plots` draws plain arrays: it knows units alone, and only those who draw import it, when they do.
ORDER = (
    "_setup",
    "units",
    "quadrature",
    "parameters",
    "priors",
    "programs",
    "methods",
    "populations",
    "progress",
    "spectra",
    "calibration",
    "photons",
    "sources",
    "model",
    "rules",
    "quantities",
    "statistics",
    "chi_squared",
    "marginal",
    "goodness",
    "plots",
    "data",
    "folding",
    "terms",
    "space",
    "layout",
    "density",
    "problem",
    "stack",
    "simulation",
    "results",
    "inference",
    "__init__",
)
FILES = sorted(PACKAGE.rglob("*.py"))


def layer_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def is_for_types(node):
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def imports(path):
    """(name imported, whether at the top of the module) of each import; those for the type checker are left out."""

    def walk(node, top):
        for child in ast.iter_child_nodes(node):
            if is_for_types(child):
                continue
            if isinstance(child, ast.Import):
                yield from ((alias.name, top) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                package = path.relative_to(PACKAGE.parent).with_suffix("").parts
                start = ".".join(package[: -child.level]) if child.level else ""
                module = ".".join(filter(None, [start, child.module]))
                yield from ((f"{module}.{alias.name}", top) for alias in child.names)
            yield from walk(child, top and not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)))

    return list(walk(ast.parse(path.read_text()), True))


def own_layers(path):
    """The layers of the package that a file imports, with whether it does so at the top."""
    found = set()
    for name, top in imports(path):
        parts = name.split(".")
        if parts[0] == "jaxspec":
            layer = parts[1] if len(parts) > 1 and parts[1] in ORDER else "__init__"
            found.add((layer, top))
    return found


def importers_of(package):
    return {
        str(path.relative_to(PACKAGE))
        for path in FILES
        if any(name.split(".")[0] == package for name, _ in imports(path))
    }


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_file_imports_only_from_layers_below_its_own(path):
    own = ORDER.index(layer_of(path))
    upward = {layer for layer, _ in own_layers(path) if layer != layer_of(path) and ORDER.index(layer) > own}
    assert not upward


def test_every_file_has_a_place_in_the_order():
    assert {layer_of(path) for path in FILES} == set(ORDER)


def test_plots_know_nothing_of_the_package_but_units():
    for path in (PACKAGE / "plots").glob("*.py"):
        assert {layer for layer, _ in own_layers(path)} <= {"plots", "units"}


def test_plots_are_imported_only_by_functions_that_draw():
    lazy, eager = set(), set()
    for path in FILES:
        if layer_of(path) != "plots":
            for layer, top in own_layers(path):
                if layer == "plots":
                    (eager if top else lazy).add(layer_of(path))
    assert not eager
    assert lazy <= {"data", "results"}


@pytest.mark.parametrize(
    ("package", "allowed"),
    [
        ("matplotlib", "plots/"),
        ("corner", "plots/"),
        ("arviz", "results/_arviz.py"),
        ("ultranest", "inference/_nested.py"),
        ("blackjax", "inference/_slices.py"),
        ("pandas", "results/"),
        ("h5netcdf", "results/_io.py"),
    ],
)
def test_a_package_is_imported_in_one_place_alone(package, allowed):
    found = importers_of(package)
    assert found
    assert all(name.startswith(allowed) for name in found)


def test_the_check_sees_imports_inside_functions(tmp_path, monkeypatch):
    package = tmp_path / "jaxspec"
    (package / "data").mkdir(parents=True)
    file = package / "data" / "_a.py"
    file.write_text("from ..plots import x\ndef f():\n    from . import b\n    import jaxspec.results._io\n")
    monkeypatch.setattr("test_layers.PACKAGE", package)
    assert own_layers(file) == {("plots", True), ("data", False), ("results", False)}


def test_no_module_is_over_five_hundred_lines_long():
    long = {path.name: n for path in FILES if (n := len(path.read_text().splitlines())) > 500}
    assert not long
