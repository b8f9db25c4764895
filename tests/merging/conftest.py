"""Files are loaded as the tests of the import load them."""

import pytest

from tests.importing.conftest import Loading
from tests.story import Story


@pytest.fixture
def load(story: Story, tmp_path_factory: pytest.TempPathFactory) -> Loading:
    """Load files into the story's database."""
    return Loading(story.database, story.clock, tmp_path_factory.mktemp("files"))
