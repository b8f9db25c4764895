"""Signing secrets of shops: one, or several with commas between them while one is changed."""

from pydantic import SecretStr


def are_secrets(written: SecretStr) -> SecretStr:
    """Refuse a setting with no secret in it."""
    if not secrets_in(written):
        raise ValueError("copy the signing secret of the webhook there")
    return written


def secrets_in(written: SecretStr) -> list[bytes]:
    """Return the secrets as keys."""
    return [part.strip().encode() for part in written.get_secret_value().split(",") if part.strip()]
