"""BibTeX entries of the papers whose methods the models use, and of this package."""

import re
from typing import TYPE_CHECKING

from zoo.project import INDEX

if TYPE_CHECKING:
    from zoo.hub.records import Record

#: BibTeX entries of the papers, by approach as in ``Record.approach``.
PAPERS = {
    "crt": """\
@inproceedings{singla2020secondorder,
  author = {Singla, Sahil and Feizi, Soheil},
  title = {Second-Order Provable Defenses against Adversarial Attacks},
  booktitle = {Proceedings of the 37th International Conference on Machine Learning (ICML)},
  year = {2020},
  url = {https://arxiv.org/abs/2006.00731},
}""",
    "double-backprop": """\
@inproceedings{seck2019l1norm,
  author = {Seck, Isma{\\"i}la and Loosli, Ga{\\"e}lle and Canu, St{\\'e}phane},
  title = {{L1}-norm double backpropagation adversarial defense},
  booktitle = {European Symposium on Artificial Neural Networks (ESANN)},
  year = {2019},
  url = {https://arxiv.org/abs/1903.01715},
}""",
    "l2nnn": """\
@inproceedings{qian2019l2nonexpansive,
  author = {Qian, Haifeng and Wegman, Mark N.},
  title = {{L2}-Nonexpansive Neural Networks},
  booktitle = {International Conference on Learning Representations (ICLR)},
  year = {2019},
  url = {https://arxiv.org/abs/1802.07896},
}""",
    "lc-lmt": """\
@misc{ono2018lightweight,
  author = {Ono, Hajime and Takahashi, Tsubasa and Kakizaki, Kazuya},
  title = {Lightweight {L}ipschitz Margin Training for Certified Defense against Adversarial
           Examples},
  year = {2018},
  eprint = {1811.08080},
  archiveprefix = {arXiv},
  url = {https://arxiv.org/abs/1811.08080},
}""",
    "linf-dist": """\
@inproceedings{zhang2021linfdist,
  author = {Zhang, Bohang and Cai, Tianle and Lu, Zhou and He, Di and Wang, Liwei},
  title = {Towards Certifying $\\ell_\\infty$ Robustness using Neural Networks with
           $\\ell_\\infty$-dist Neurons},
  booktitle = {Proceedings of the 38th International Conference on Machine Learning (ICML)},
  year = {2021},
  url = {https://proceedings.mlr.press/v139/zhang21b.html},
}""",
    "lmt": """\
@inproceedings{tsuzuku2018lipschitzmargin,
  author = {Tsuzuku, Yusuke and Sato, Issei and Sugiyama, Masashi},
  title = {{L}ipschitz-Margin Training: Scalable Certification of Perturbation Invariance for Deep
           Neural Networks},
  booktitle = {Advances in Neural Information Processing Systems (NeurIPS)},
  year = {2018},
  url = {https://arxiv.org/abs/1802.04034},
}""",
}

_PACKAGE = """\
@software{{certifiedzoo,
  author = {{{{The certified-zoo developers}}}},
  title = {{certified-zoo: a {{Keras}} model zoo of certifiably robust image classifiers}},
  version = {{{version}}},
  url = {{{url}}},
}}"""


def paper_address(approach: str) -> str | None:
    """Address of an approach's paper; None for an approach that the zoo does not know.

    Examples:
        >>> from zoo.citation import paper_address
        >>> paper_address("l2nnn")
        'https://arxiv.org/abs/1802.07896'
    """
    found = re.search(r"url = \{(.+?)\}", PAPERS.get(approach, ""))
    return found[1] if found else None


def cite(name: str | None = None) -> str:
    """BibTeX entries to cite for a model.

    Args:
        name: name of a checkpoint in the catalog, or an approach, such as ``"linf-dist"``; None for
            this package alone.

    Returns:
        The entry of the approach's paper, and that of this package, separated by an empty line.

    Raises:
        TypeError: if the name is not text.
        zoo.UnknownModelError: if there is no such checkpoint or approach.

    Examples:
        >>> import zoo
        >>> print(zoo.cite("l2nnn-digits").split(",")[0])
        @inproceedings{qian2019l2nonexpansive
    """
    from zoo import __version__
    from zoo.hub import catalog

    entries = [_PACKAGE.format(version=__version__, url=INDEX)]
    if name is not None:
        record: Record | None = None if name in PAPERS else catalog.info(name)
        entries.insert(0, PAPERS[name if record is None else record.approach])
    return "\n\n".join(entries)
