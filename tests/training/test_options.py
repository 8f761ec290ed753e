"""Options that another option makes meaningless."""

import numpy as np
import pytest

from training import recipe as recipes
from training.__main__ import main
from training.measure import check


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--cost", "--measure"], "--measure has no effect with --cost"),
        (["--certify", "--data", "a.npz"], "--data has no effect with --certify"),
        (["--attacks", "--out", "runs/a"], "--out has no effect with --attacks"),
        (["--seeds", "3", "--minutes", "1"], "--minutes has no effect with --seeds"),
        (["--seeds", "3", "--data-parallel"], "--data-parallel has no effect with --seeds"),
        (["--cost", "--epochs", "0"], "--epochs has no effect with --cost"),
        (["--cost", "--attacks"], "--attacks: not allowed with argument --cost"),
    ],
)
def test_an_option_without_effect_is_refused(options, message, capsys):
    with pytest.raises(SystemExit):
        main(["linf-dist-digits", *options])
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--measure", "--certify", "--attacks", "--cost", "--seeds=2"])
@pytest.mark.parametrize(
    "name", ["tables/lc-lmt-mnist", str(recipes.RECIPES / "tables" / "lc-lmt-mnist.toml")]
)
def test_a_recipe_of_the_tables_makes_no_checkpoint(name, option, capsys):
    """This one has the name of a checkpoint, whose record it would replace."""
    assert main([name, option]) == 1
    assert "is a recipe of the papers' tables" in capsys.readouterr().err


def test_an_empty_test_set_is_refused_before_the_training(tmp_path):
    images, labels = np.zeros((8, 8, 8, 1), "float32"), np.arange(8)
    parts = {"x_train": images, "y_train": labels, "x_test": images[:0], "y_test": labels[:0]}
    np.savez(tmp_path / "none.npz", **parts)
    with pytest.raises(ValueError, match="has no test images"):
        check(recipes.load("linf-dist-digits"), data_file=tmp_path / "none.npz")
