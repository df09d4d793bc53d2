"""The configuration's declaration changes with every setting but a secret one."""

import msgspec

from hashwerk.config.site import SiteConfig
from hashwerk.site.configuration_record import configuration_record


def test_a_setting_changes_it_and_a_secret_does_not() -> None:
    config = SiteConfig()
    before = configuration_record(config)
    assert before == configuration_record(SiteConfig())
    assert before.value.startswith("sha256:")
    longer = msgspec.structs.replace(config, evidence=msgspec.structs.replace(config.evidence, epoch_s=300.0))
    assert configuration_record(longer) != before
    web = msgspec.structs.replace(config.web, password_hash="$argon2id$short")
    assert configuration_record(msgspec.structs.replace(config, web=web)) == before
