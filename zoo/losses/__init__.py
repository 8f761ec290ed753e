"""The losses that the papers introduce."""

from zoo.losses.calibrated_margin import CalibratedMargin
from zoo.losses.certified_radius_maximization import CertifiedRadiusMaximization
from zoo.losses.clipped_hinge import ClippedHinge
from zoo.losses.clipped_hinge_mixture import ClippedHingeMixture
from zoo.losses.confidence_gap import ConfidenceGap
from zoo.losses.jacobian_l1 import JacobianL1
from zoo.losses.lipschitz_margin import LipschitzMargin
from zoo.losses.row_sum_regularizer import RowSumRegularizer
from zoo.losses.worst_case_cross_entropy import WorstCaseCrossEntropy
from zoo.losses.worst_case_hinge import WorstCaseHinge

__all__ = [
    "CalibratedMargin",
    "CertifiedRadiusMaximization",
    "ClippedHinge",
    "ClippedHingeMixture",
    "ConfidenceGap",
    "JacobianL1",
    "LipschitzMargin",
    "RowSumRegularizer",
    "WorstCaseCrossEntropy",
    "WorstCaseHinge",
]
