"""Code of a user's own: what one file imports from its folder is no other's."""

from pathlib import Path

from ldebm.outside import load_object


def test_helpers_of_one_name_in_two_folders_are_two(tmp_path: Path) -> None:
    for place, value in (("a", 1), ("b", 2)):
        (tmp_path / place / "inner").mkdir(parents=True)
        (tmp_path / place / "helper.py").write_text(f"VALUE = {value}\n")
        (tmp_path / place / "inner/__init__.py").write_text(f"VALUE = {10 * value}\n")
        code = "import helper, inner, json\nVALUES = (helper.VALUE, inner.VALUE)\n"
        (tmp_path / place / "own.py").write_text(code)
    found = [load_object(f"{tmp_path / place}/own.py:VALUES") for place in ("a", "b", "a")]
    assert found == [(1, 10), (2, 20), (1, 10)]


def test_what_is_installed_stays_what_it_is(tmp_path: Path) -> None:
    """A folder that holds the package, as the project's own does."""
    (tmp_path / "ldebm").symlink_to(Path(__file__).parents[1] / "ldebm")
    code = "from ldebm.models.priors import StandardNormal\n"
    (tmp_path / "own.py").write_text(code)
    found = load_object(f"{tmp_path}/own.py:StandardNormal")
    from ldebm.models.priors import StandardNormal

    assert found is StandardNormal
