"""What settings of a provider are checked for: a key that can be sent, to an address where it is not read by others."""

import ipaddress
import re

from pydantic import SecretStr


def can_be_sent(key: SecretStr) -> SecretStr:
    """Return the key; a ValueError where it cannot stand in a header."""
    if not re.fullmatch(r"[!-~]+", key.get_secret_value()):
        raise ValueError("a key is ASCII without spaces or line breaks")
    return key


def keeps_the_key(url: str) -> str:
    """Return the address of a server without a slash at its end.

    A ValueError where the key would travel in plain text, except to this machine.
    """
    found = re.fullmatch(r"(https?)://(\[[^\]\s/@]+\]|[^\s/@:?#]+)(?::\d{1,5})?/?", url)
    if found is None:
        raise ValueError("write https:// and the name of the server, without a path")
    if found[1] == "http" and not is_this_machine(found[2].strip("[]")):
        raise ValueError("the key would travel in plain text: write https://")
    return url.rstrip("/")


def is_public(address: str) -> bool:
    """Return whether an IP address is one of the internet's, and not of a network of somebody's own.

    Also of the address of IPv4 that one of IPv6 stands for (RFC 4291, RFC 3056, RFC 6052).
    """
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        inside = found.ipv4_mapped or found.sixtofour
        if found in _TRANSLATED:
            inside = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
        if inside is not None:
            return is_public(str(inside))
    return found.is_global and not found.is_multicast


_TRANSLATED = ipaddress.ip_network("64:ff9b::/96")


def is_this_machine(host: str) -> bool:
    """Return whether what is sent to a host stays on this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
