"""Signing in to Salesforce with a private key in place of a secret: a JWT of RFC 7523.

https://help.salesforce.com/s/articleView?id=xcloud.remoteaccess_oauth_jwt_flow.htm: signed by RS256, about the app
(`iss`) and the user (`sub`), for one of three audiences, and for three minutes at most.
"""

from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import urlencode

import httpx
import jwt

from connectors.crm.salesforce_settings import SalesforceSettings
from evergreet.errors import Misconfigured

LIFETIME = timedelta(minutes=2)
"""Salesforce takes three: so our clock may be one minute fast, or two slow."""
PEM = "-----BEGIN "


def form_of(settings: SalesforceSettings, now: datetime) -> str:
    """Return the form that asks for a token, signed now; raises `Misconfigured` where the key cannot sign.

    Nothing of the key is said: a fault in it may be shown with the lines around it.
    """
    claims = {
        "iss": settings.client_id, "sub": settings.username, "aud": audience_of(settings),
        "exp": int((now + LIFETIME).timestamp()),
    }  # fmt: skip
    try:
        signed = jwt.encode(claims, _key(settings.private_key.get_secret_value()), algorithm="RS256")
    except OSError as problem:
        why = problem.strerror or type(problem).__name__
        raise Misconfigured(f"The file of EVERGREET_SALESFORCE_PRIVATE_KEY cannot be read: {why}.") from None
    except (jwt.PyJWTError, ValueError, TypeError):
        raise Misconfigured(
            "EVERGREET_SALESFORCE_PRIVATE_KEY is no private RSA key: write one in PEM, without a passphrase, beginning "
            f"with {PEM}PRIVATE KEY-----, or the path of a file with it."
        ) from None
    return urlencode({"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": signed})


def audience_of(settings: SalesforceSettings) -> str:
    """Return for whom the JWT is: who lets the users of an org, or of a sandbox, in."""
    if settings.audience:
        return settings.audience
    host = httpx.URL(settings.base_url).host
    is_for_tests = ".sandbox." in host or ".scratch." in host
    return "https://test.salesforce.com" if is_for_tests else "https://login.salesforce.com"


def _key(written: str) -> bytes:
    """Return the key: it stands in the setting, its lines also as `\\n`, or in the file that the setting names."""
    text = written.strip()
    return text.replace("\\n", "\n").encode() if text.startswith(PEM) else Path(text).expanduser().read_bytes()
