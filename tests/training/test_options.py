"""Options that another option makes meaningless."""

import pytest

from training.__main__ import main


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
