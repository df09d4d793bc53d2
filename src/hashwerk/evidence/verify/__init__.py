"""The verifier: recompute everything a bundle claims, and say what each check is worth."""

from hashwerk.evidence.verify.result import Check, Label, Report, Verdict
from hashwerk.evidence.verify.run import Options, verify_bundle, verify_bundles
from hashwerk.evidence.verify.together import together

__all__ = ["Check", "Label", "Options", "Report", "Verdict", "together", "verify_bundle", "verify_bundles"]
