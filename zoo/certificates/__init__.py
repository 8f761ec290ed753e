"""Certificates: radii within which a prediction provably cannot change."""

from zoo.certificates.bisection import largest_certified
from zoo.certificates.certificate import Certificate, CertifiedBatch, round_down
from zoo.certificates.lipschitz import (
    lipschitz_radii,
    lipschitz_radius,
    margin,
    pairwise_radius,
    steepness_radii,
    steepness_radius,
)
from zoo.certificates.logit_certificate import LogitCertificate

__all__ = [
    "Certificate",
    "CertifiedBatch",
    "LogitCertificate",
    "largest_certified",
    "lipschitz_radii",
    "lipschitz_radius",
    "margin",
    "pairwise_radius",
    "round_down",
    "steepness_radii",
    "steepness_radius",
]
