"""What is cheap stays cheap."""

import ast
import pathlib
import subprocess
import sys

import zoo


def loaded_after(code):
    heavy = "('tensorflow', 'jax', 'keras', 'ray')"
    check = f"import sys\n{code}\nprint(*[name for name in {heavy} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    return run.stdout.split("\n")[-2].split()


def test_import_loads_no_backend():
    assert loaded_after("import zoo") == []


def test_catalog_commands_load_no_backend():
    assert loaded_after("from zoo.cli import main; main(['list'])") == []
    assert loaded_after("from zoo.cli import main; main(['info', 'linf-dist-digits'])") == []


def test_the_leaderboard_loads_no_backend(tmp_path):
    assert (
        loaded_after(f"from zoo.cli import main; main(['leaderboard', '--out', {str(tmp_path)!r}])")
        == []
    )


def test_the_attacks_are_listed_without_a_backend():
    assert loaded_after("import zoo.attacks") == []
    show_help = "from zoo.cli import main\ntry:\n    main(['attack', '--help'])"
    assert loaded_after(f"{show_help}\nexcept SystemExit:\n    pass") == []


def test_the_tests_start_without_a_backend():
    """A test of pure Python does not wait for TensorFlow."""
    assert loaded_after("import tests.conftest") == []


def test_public_names_exist():
    for name in zoo.__all__:
        assert getattr(zoo, name) is not None
    assert set(zoo.__all__) <= set(dir(zoo))


def test_type_checkers_are_told_of_every_public_name():
    tree = ast.parse(pathlib.Path(zoo.__file__).read_text(encoding="utf-8"))
    (block,) = (
        node
        for node in tree.body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    )
    told = {alias.asname for node in block.body for alias in node.names}
    assert told == set(zoo.__all__)
