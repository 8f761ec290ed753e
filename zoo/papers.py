"""The papers whose methods the models use."""

from typing import NamedTuple


class Paper(NamedTuple):
    """A paper whose method the models use.

    Args:
        reference: authors, title, venue and year in one line, as ``Record.paper`` has it.
        bibtex: the BibTeX entry.
    """

    reference: str
    bibtex: str

    @property
    def address(self) -> str:
        """Address of the paper's page."""
        return self.bibtex.partition("url = {")[2].partition("}")[0]


#: The papers, by approach as in ``Record.approach``, and three whose losses networks of these
#: approaches can be trained with.
PAPERS = {
    "crt": Paper(
        "Singla, Feizi: Second-Order Provable Defenses against Adversarial Attacks, ICML 2020",
        """\
@inproceedings{singla2020secondorder,
  author = {Singla, Sahil and Feizi, Soheil},
  title = {Second-Order Provable Defenses against Adversarial Attacks},
  booktitle = {Proceedings of the 37th International Conference on Machine Learning (ICML)},
  year = {2020},
  url = {https://arxiv.org/abs/2006.00731},
}""",
    ),
    "double-backprop": Paper(
        "Seck, Loosli, Canu: L1-norm double backpropagation adversarial defense, ESANN 2019",
        """\
@inproceedings{seck2019l1norm,
  author = {Seck, Isma{\\"i}la and Loosli, Ga{\\"e}lle and Canu, St{\\'e}phane},
  title = {{L1}-norm double backpropagation adversarial defense},
  booktitle = {European Symposium on Artificial Neural Networks (ESANN)},
  year = {2019},
  url = {https://arxiv.org/abs/1903.01715},
}""",
    ),
    "l2nnn": Paper(
        "Qian, Wegman: L2-Nonexpansive Neural Networks, ICLR 2019",
        """\
@inproceedings{qian2019l2nonexpansive,
  author = {Qian, Haifeng and Wegman, Mark N.},
  title = {{L2}-Nonexpansive Neural Networks},
  booktitle = {International Conference on Learning Representations (ICLR)},
  year = {2019},
  url = {https://arxiv.org/abs/1802.07896},
}""",
    ),
    "lc-lmt": Paper(
        "Ono, Takahashi, Kakizaki: Lightweight Lipschitz Margin Training for Certified Defense "
        "against Adversarial Examples, 2018",
        """\
@misc{ono2018lightweight,
  author = {Ono, Hajime and Takahashi, Tsubasa and Kakizaki, Kazuya},
  title = {Lightweight {L}ipschitz Margin Training for Certified Defense against Adversarial
           Examples},
  year = {2018},
  eprint = {1811.08080},
  archiveprefix = {arXiv},
  url = {https://arxiv.org/abs/1811.08080},
}""",
    ),
    "linf-dist": Paper(
        "Zhang, Cai, Lu, He, Wang: Towards Certifying ℓ∞ Robustness using Neural Networks with "
        "ℓ∞-dist Neurons, ICML 2021",
        """\
@inproceedings{zhang2021linfdist,
  author = {Zhang, Bohang and Cai, Tianle and Lu, Zhou and He, Di and Wang, Liwei},
  title = {Towards Certifying $\\ell_\\infty$ Robustness using Neural Networks with
           $\\ell_\\infty$-dist Neurons},
  booktitle = {Proceedings of the 38th International Conference on Machine Learning (ICML)},
  year = {2021},
  url = {https://proceedings.mlr.press/v139/zhang21b.html},
}""",
    ),
    "mixture": Paper(
        "Zhang, Jiang, He, Wang: Boosting the Certified Robustness of L-infinity Distance Nets, "
        "ICLR 2022",
        """\
@inproceedings{zhang2022boosting,
  author = {Zhang, Bohang and Jiang, Du and He, Di and Wang, Liwei},
  title = {Boosting the Certified Robustness of {L}-infinity Distance Nets},
  booktitle = {International Conference on Learning Representations (ICLR)},
  year = {2022},
  url = {https://arxiv.org/abs/2110.06850},
}""",
    ),
    "lmt": Paper(
        "Tsuzuku, Sato, Sugiyama: Lipschitz-Margin Training: Scalable Certification of "
        "Perturbation Invariance for Deep Neural Networks, NeurIPS 2018",
        """\
@inproceedings{tsuzuku2018lipschitzmargin,
  author = {Tsuzuku, Yusuke and Sato, Issei and Sugiyama, Masashi},
  title = {{L}ipschitz-Margin Training: Scalable Certification of Perturbation Invariance for Deep
           Neural Networks},
  booktitle = {Advances in Neural Information Processing Systems (NeurIPS)},
  year = {2018},
  url = {https://arxiv.org/abs/1802.04034},
}""",
    ),
    "calibrated": Paper(
        "Losch, Stutz, Schiele, Fritz: Certified Robust Models with Slack Control and Large "
        "Lipschitz Constants, GCPR 2023",
        """\
@inproceedings{losch2023slackcontrol,
  author = {Losch, Max and Stutz, David and Schiele, Bernt and Fritz, Mario},
  title = {Certified Robust Models with Slack Control and Large {L}ipschitz Constants},
  booktitle = {DAGM German Conference on Pattern Recognition (GCPR)},
  year = {2023},
  url = {https://arxiv.org/abs/2309.06166},
}""",
    ),
    "crm": Paper(
        "Fazlyab, Entesari, Roy, Chellappa: Certified Robustness via Dynamic Margin Maximization "
        "and Improved Lipschitz Regularization, NeurIPS 2023",
        """\
@inproceedings{fazlyab2023dynamicmargin,
  author = {Fazlyab, Mahyar and Entesari, Taha and Roy, Aniket and Chellappa, Rama},
  title = {Certified Robustness via Dynamic Margin Maximization and Improved {L}ipschitz
           Regularization},
  booktitle = {Advances in Neural Information Processing Systems (NeurIPS)},
  year = {2023},
  url = {https://arxiv.org/abs/2310.00116},
}""",
    ),
}


def paper_of(reference: str) -> Paper | None:
    """The paper that a model names; None for a paper that the zoo does not know.

    Args:
        reference: the paper as in ``Record.paper``.

    Examples:
        >>> import zoo
        >>> from zoo.papers import paper_of
        >>> paper_of(zoo.info("l2nnn-digits").paper).address
        'https://arxiv.org/abs/1802.07896'
    """
    return next((paper for paper in PAPERS.values() if paper.reference == reference), None)
