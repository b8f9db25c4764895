"""A provider that tells of the messages of a story."""

import pytest

from tests.feedback.telling import Provider
from tests.story import Story


@pytest.fixture
def provider(story: Story) -> Provider:
    return Provider(story)
