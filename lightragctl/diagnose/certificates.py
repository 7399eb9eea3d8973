"""When a certificate ends, read from its PEM text without a library for X.509. Pure."""

import base64
import binascii
import re
from datetime import UTC, datetime

_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----(.+?)-----END CERTIFICATE-----", re.DOTALL)
_VERSION, _UTC_TIME = 0xA0, 0x17


def expires_at(pem: bytes) -> float | None:
    """The end of the first certificate's validity in unix seconds; None when there is none that can be read."""
    found = _PEM.search(pem)
    try:
        return _not_after(base64.b64decode(found[1])) if found else None
    except (binascii.Error, ValueError, IndexError):
        return None


def _not_after(der: bytes) -> float:
    """RFC 5280: Certificate > TBSCertificate > version, serial, algorithm, issuer, validity > notBefore, notAfter."""
    _, certificate, _ = _element(der)
    _, rest, _ = _element(certificate)
    tag, _, after = _element(rest)
    if tag == _VERSION:
        rest = after
    for _ in range(3):  # serial number, algorithm, issuer
        rest = _element(rest)[2]
    _, validity, _ = _element(rest)
    _, _, second = _element(validity)
    tag, text, _ = _element(second)
    form = "%y%m%d%H%M%SZ" if tag == _UTC_TIME else "%Y%m%d%H%M%SZ"
    return datetime.strptime(text.decode("ascii"), form).replace(tzinfo=UTC).timestamp()


def _element(data: bytes) -> tuple[int, bytes, bytes]:
    """Tag and content of the first element of DER, and what follows it."""
    length, start = data[1], 2
    if length & 0x80:
        count = length & 0x7F
        length, start = int.from_bytes(data[2 : 2 + count], "big"), 2 + count
    return data[0], data[start : start + length], data[start + length :]
