"""What the settings say of a CRM."""

import pytest

from evergreet.crm.opening import rules_of
from evergreet.errors import ConfigurationError
from evergreet.settings import settings


def test_one_crm_may_move_contacts_between_stages_and_a_name_that_none_has_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("EVERGREET_CRM_STAGES", "hubspot")
    settings.cache_clear()
    assert rules_of("hubspot").move
    assert not rules_of("sql").move
    monkeypatch.setenv("EVERGREET_CRM_STAGES", "hubspott")
    settings.cache_clear()
    with pytest.raises(ConfigurationError, match=r"^EVERGREET_CRM_STAGES: there is no connector 'hubspott'"):
        rules_of("hubspot")
