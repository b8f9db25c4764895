from pathlib import Path

from tests.documents import ROOT, Workplace, blocks


def test_every_code_block_of_the_importing_page_runs(tmp_path: Path) -> None:
    workplace = Workplace(tmp_path, str)
    found = list(blocks(ROOT / "docs" / "importing.md"))
    assert len(found) == 5
    for block in found:
        workplace.run(block)
