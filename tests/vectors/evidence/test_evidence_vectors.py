"""The specification's vectors are those of the code, and the bundle beside them verifies."""

import importlib.util
import io
import json
from pathlib import Path
from types import ModuleType

import pytest

from hashwerk.evidence.verify import verify_bundle
from hashwerk.evidence.verify.run import Options

HERE = Path(__file__).parent
DOCS = HERE.parents[2] / "docs" / "evidence"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("write_vectors", HERE / "write_vectors.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_vectors_are_what_the_code_gives(script: ModuleType) -> None:
    fresh = script.vectors()
    assert sorted(path.name for path in (DOCS / "vectors").glob("*.json")) == sorted(fresh)
    for name, content in fresh.items():
        assert (DOCS / "vectors" / name).read_text() == script.as_text(content), (
            f"run {HERE.name}/write_vectors.py"
        )
    assert (DOCS / "vectors" / "bundle.hwe").read_bytes() == script.bundle_bytes()


def test_the_page_of_records_is_what_the_code_says(script: ModuleType) -> None:
    assert (DOCS / "records.md").read_text() == script.records_page()


def test_the_bundle_of_the_vectors_verifies() -> None:
    said = json.loads((DOCS / "vectors" / "bundle.json").read_text())
    data = (DOCS / "vectors" / said["file"]).read_bytes()
    report = verify_bundle(io.BytesIO(data), Options(key=said["site"], threads=1))
    assert (report.verdict, report.subject) == (said["verdict"], said["subject"]), report.failures()
    work = report.statement["work"]
    assert (work["shares"]["value"], int(work["hashes"]["value"])) == (said["shares"], said["hashes"])
    assert report.statement["energy"]["metered"]["value"] == said["import_wh"]
