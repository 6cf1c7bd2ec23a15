"""The pages of the components say what their docstrings say."""

import importlib.util
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"


def test_every_page_and_picture_of_the_components_is_up_to_date():
    spec = importlib.util.spec_from_file_location("make_components", DOCS / "make_components.py")
    assert spec is not None
    assert spec.loader is not None
    maker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maker)
    pages = maker.pages()
    folder = DOCS / "components"
    assert {path.name for path in folder.glob("*.md")} == set(pages)
    old = [name for name, text in pages.items() if (folder / name).read_text() != text]
    assert not old, f"run python docs/make_components.py; these differ: {old}"
    assert {path.stem for path in folder.glob("images/*.png")} == {
        name for name, cls in maker.exported().items() if not maker.reads_files(cls)
    }
