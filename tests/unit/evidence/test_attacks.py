"""The 22 attacks of the facts, each built from a good bundle and caught with the right reason."""

import io

import pytest

from hashwerk.evidence.verify import Report, Verdict, verify_bundle
from hashwerk.evidence.verify.compare import compare
from hashwerk.evidence.verify.run import Options, inspect_bundle
from support.evidence import EvidenceSite
from support.forgeries import Contradiction, Forgery, all_forgeries

OPTIONS = Options(threads=2)
SITE = EvidenceSite().run(4)
FORGERIES = list(all_forgeries(SITE))


def verify(data: bytes) -> Report:
    return verify_bundle(io.BytesIO(data), OPTIONS)


def test_the_good_bundle_is_valid() -> None:
    report = verify(SITE.bundle())
    assert (report.verdict, report.failures(), report.subject) == (Verdict.VALID, (), "simulation")


def test_every_attack_of_the_facts_is_here() -> None:
    assert {int(forgery.name.split("_")[0]) for forgery in FORGERIES} == set(range(1, 23))


@pytest.mark.parametrize("forgery", FORGERIES, ids=lambda forgery: forgery.name)
def test_it_is_caught_with_the_right_reason(forgery: Forgery | Contradiction) -> None:
    if isinstance(forgery, Contradiction):
        found = [inspect_bundle(io.BytesIO(data), OPTIONS) for data in (forgery.first, forgery.second)]
        assert [one.report.verdict for one in found] == [Verdict.VALID, Verdict.VALID]
        for report in compare([(str(i), one.report, one.summary) for i, one in enumerate(found)]):
            assert report.verdict == Verdict.INVALID
            (check,) = report.failures()
            assert check.name == "other bundles"
            assert all(word in check.detail for word in forgery.words), check.detail
        return
    report = verify(forgery.data)
    failed = {check.name: check.detail for check in report.failures()}
    assert report.verdict == Verdict.INVALID, failed
    assert forgery.check in failed, failed
    assert all(word in failed[forgery.check] for word in forgery.words), failed[forgery.check]
