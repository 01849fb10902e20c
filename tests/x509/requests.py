"""Makes odd certificate requests for web01, a file each: good-*.pem and bad-*.pem.

    requests.py DIRECTORY

Each is written element by element, because no library writes what is wrong.
"""

import base64
import os
import sys

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

(DIRECTORY,) = sys.argv[1:]
ROLE, PRIVATE, ARC = "1.3.6.1.4.1.34380.1.1.13", "1.3.6.1.4.1.34380.1.2.1", "1.3.6.1.4.1.34380.1"
SAN, EXTENSIONS, RENEW = "2.5.29.17", "1.2.840.113549.1.9.14", ARC + ".3.2"
MICROSOFT, PASSWORD = "1.3.6.1.4.1.311.2.1.14", "1.2.840.113549.1.9.7"
NULL, TRUE, FALSE = b"\x05\x00", b"\x01\x01\xff", b"\x01\x01\x00"
RSA256, RSA1, EC256, EC1 = (
    "1.2.840.113549.1.1.11", "1.2.840.113549.1.1.5", "1.2.840.10045.4.3.2", "1.2.840.10045.4.1"
)


def tlv(tag, *parts):
    content = b"".join(parts)
    length = len(content)
    if length < 128:
        return bytes([tag, length]) + content
    size = (length.bit_length() + 7) // 8
    return bytes([tag, 0x80 | size]) + length.to_bytes(size, "big") + content


def seq(*parts):
    return tlv(0x30, *parts)


def oid(text, padded=False):
    first, second, *rest = map(int, text.split("."))
    out = b""
    for number in [40 * first + second, *rest]:
        part = [number & 127]
        while number > 127:
            number >>= 7
            part.insert(0, number & 127 | 128)
        out += bytes(part)
    return tlv(6, (b"\x80" if padded else b"") + out)


def utf8(text):
    return tlv(0x0C, text if isinstance(text, bytes) else text.encode())


def cn(text="web01", make=utf8, kind="2.5.4.3"):
    return tlv(0x31, seq(oid(kind), make(text)))


def extension(number, value, *critical, padded=False):
    return seq(oid(number, padded), *critical, tlv(4, value))


def attribute(number, *values):
    return seq(oid(number), tlv(0x31, *values))


def asks(*extensions):
    return attribute(EXTENSIONS, seq(*extensions))


def dns(*names, tag=0x82):
    return seq(*(tlv(tag, name.encode()) for name in names))


KEYS = {
    "p256": ec.generate_private_key(ec.SECP256R1()),
    "p384": ec.generate_private_key(ec.SECP384R1()),
    "p521": ec.generate_private_key(ec.SECP521R1()),
    "rsa2048": rsa.generate_private_key(65537, 2048),
    "rsa1024": rsa.generate_private_key(65537, 1024),
    "ed25519": ed25519.Ed25519PrivateKey.generate(),
}


def spki(key, compressed=False):
    form = serialization.PublicFormat
    der = KEYS[key].public_key().public_bytes(serialization.Encoding.DER, form.SubjectPublicKeyInfo)
    if not compressed:
        return der
    point = KEYS[key].public_key().public_bytes(serialization.Encoding.X962, form.CompressedPoint)
    return seq(seq(oid("1.2.840.10045.2.1"), oid("1.2.840.10045.3.1.7")), tlv(3, b"\0", point))


def sign(key, body, digest):
    own = KEYS[key]
    if isinstance(own, rsa.RSAPrivateKey):
        return own.sign(body, padding.PKCS1v15(), digest)
    return own.sign(body) if key == "ed25519" else own.sign(body, ec.ECDSA(digest))


def csr(*attributes, subject=None, key="p256", by=None, version=b"\0", algorithm=None, digest=hashes.SHA256(), info=None,
        public=None, outer=b"", set_=None, unused=b"\0"):
    by = by or key
    is_rsa = by.startswith("rsa")
    if algorithm is None:
        algorithm = seq(oid(RSA256), NULL) if is_rsa else seq(oid("1.3.101.112" if by == "ed25519" else EC256))
    subject = seq(cn()) if subject is None else subject
    given = tlv(0xA0, *attributes) if set_ is None else set_
    body = seq(tlv(2, version), subject, public or spki(key), given, info or b"")
    return seq(body, algorithm, tlv(3, unused, sign(by, body, digest)), outer)


def pem(der, label="CERTIFICATE REQUEST"):
    text = base64.b64encode(der).decode()
    lines = [text[at:at + 64] for at in range(0, len(text), 64)]
    return "\n".join([f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", ""])


def put(case, der, text=lambda pem: pem):
    with open(os.path.join(DIRECTORY, case + ".pem"), "w") as out:
        out.write(text(pem(der)))


def good():
    for key in ("p256", "p384", "rsa2048"):
        put(f"good-{key}", csr(key=key))
    put("good-sha384", csr(algorithm=seq(oid("1.2.840.10045.4.3.3")), digest=hashes.SHA384()))
    put("good-sha512-rsa", csr(key="rsa2048", algorithm=seq(oid("1.2.840.113549.1.1.13"), NULL), digest=hashes.SHA512()))
    put("good-printable", csr(subject=seq(cn(make=lambda text: tlv(0x13, text.encode())))))
    put("good-no-attributes", csr(set_=b""))
    put("good-name", csr(asks(extension(SAN, dns("web01")))))
    put("good-facts", csr(asks(extension(ROLE, utf8("w\xe4b")), extension(SAN, dns("web01")), extension(PRIVATE, utf8("x")))))
    put("good-renew", csr(attribute(RENEW, tlv(0x13, b"true")), asks(extension(ROLE, utf8("web")))))
    put("good-nothing-asked", csr(asks()))
    put("good-words-around", csr(), lambda pem: "Certificate Request:\n    Data:\n" + pem + "\n")
    # Whether a node is given such a fact is judged by its object identifier.
    put("good-other-text", csr(asks(extension(ARC + ".3.13", utf8("x")))))


def bad_envelope():
    put("bad-pem-two", csr(), lambda pem: pem + pem)
    put("bad-pem-key", csr(), lambda text: text + pem(b"\x30\x00", "PRIVATE KEY"))
    put("bad-pem-label", csr(), lambda text: text.replace("CERTIFICATE REQUEST", "X509 CRL"))
    put("bad-pem-cut", csr(), lambda text: text[:-30])
    put("bad-pem-none", csr(), lambda text: "")
    put("bad-outer", csr(outer=NULL))
    put("bad-tail", csr() + NULL)
    put("bad-info", csr(info=NULL))
    for case, version in {"1": b"\1", "2": b"\2", "negative": b"\xff", "long": b"\0\0", "none": b""}.items():
        put(f"bad-version-{case}", csr(version=version))
    put("bad-unused-bits", csr(unused=b"\1"))
    put("bad-empty", b"\x30\0")


def bad_subjects():
    text = cn()[2:]
    for case, subject in {
        "other": seq(cn("web02")), "case": seq(cn("Web01")), "blank": seq(cn(" web01")), "none": seq(),
        "two": seq(cn(), cn()), "more": seq(cn("Example", kind="2.5.4.10"), cn()), "set": seq(tlv(0x31, text, text)),
        "kind": seq(cn(kind="2.5.4.10")), "nul": seq(cn("web01\0")), "long": seq(cn("web01.example.com")),
        "bmp": seq(cn(make=lambda text: tlv(0x1E, text.encode("utf-16-be")))),
        "padded": seq(tlv(0x31, seq(oid("2.5.4.3", True), utf8("web01")))),
        "pair": seq(tlv(0x31, seq(oid("2.5.4.3"), utf8("web01"), NULL))),
    }.items():
        put(f"bad-subject-{case}", csr(subject=subject))


def bad_keys():
    for key in ("p521", "rsa1024", "ed25519"):
        put(f"bad-key-{key}", csr(key=key))
    put("bad-key-compressed", csr(public=spki("p256", True)))
    put("bad-key-tail", csr(public=spki("p256")[:1] + bytes([spki("p256")[1] + 2]) + spki("p256")[2:] + NULL))
    put("bad-signature-other", csr(key="p256", by="p384"))
    put("bad-signature-rsa", csr(key="p256", by="rsa2048"))
    put("bad-signature-digest", csr(digest=hashes.SHA384()))
    put("bad-signature-sha1", csr(algorithm=seq(oid(EC1)), digest=hashes.SHA1()))
    put("bad-signature-sha1-rsa", csr(key="rsa2048", algorithm=seq(oid(RSA1), NULL), digest=hashes.SHA1()))
    put("bad-signature-null", csr(algorithm=seq(oid(EC256), NULL)))
    put("bad-signature-without-null", csr(key="rsa2048", algorithm=seq(oid(RSA256))))


def bad_attributes():
    role = extension(ROLE, utf8("web"))
    true = tlv(0x13, b"true")
    for case, attributes in {
        "password": [attribute(PASSWORD, utf8("secret"))], "microsoft": [attribute(MICROSOFT, seq(role))],
        "twice": [asks(role), asks(role)], "two-values": [attribute(EXTENSIONS, seq(role), seq(role))],
        "no-value": [attribute(EXTENSIONS)], "null": [attribute(EXTENSIONS, NULL)], "tail": [seq(oid(EXTENSIONS), tlv(0x31, seq()), NULL)],
        "renew-twice": [attribute(RENEW, true), attribute(RENEW, true)], "renew-two": [attribute(RENEW, true, true)],
        "renew-other": [attribute(RENEW, tlv(0x13, b"yes"))], "renew-octets": [attribute(RENEW, tlv(4, b"true"))],
        "padded": [seq(oid(EXTENSIONS, True), tlv(0x31, seq(role)))],
        "cli": [attribute(ARC + ".3.39", true)], "junk": [b"\x30\x05abc"],
    }.items():
        put(f"bad-attribute-{case}", csr(*attributes))


def bad_extensions():
    for case, extensions in {
        "critical": [extension(ROLE, utf8("web"), TRUE)], "not-critical": [extension(ROLE, utf8("web"), FALSE)],
        "twice": [extension(ROLE, utf8("web")), extension(ROLE, utf8("web"))],
        "printable": [extension(ROLE, tlv(0x13, b"web"))], "raw": [extension(ROLE, b"web")],
        "tail": [extension(ROLE, utf8("web") + NULL)], "not-utf8": [extension(ROLE, utf8(b"w\xe4b"))],
        "long-form": [extension(ROLE, b"\x0c\x81\x03web")], "endless": [extension(ROLE, b"\x0c\x80web\0\0")],
        "cut": [extension(ROLE, b"\x0c\x09web")], "padded": [extension(ROLE, utf8("web"), padded=True)],
        "more": [seq(oid(ROLE), tlv(4, utf8("web")), NULL)], "octets": [seq(oid(ROLE), utf8("web"))],
        "basic": [extension("2.5.29.19", seq())], "ca": [extension("2.5.29.19", seq(TRUE), TRUE)],
        "usage": [extension("2.5.29.15", tlv(3, b"\5\xa0"))], "usages": [extension("2.5.29.37", seq(oid("1.3.6.1.5.5.7.3.1")))],
        "name-other": [extension(SAN, dns("web02"))], "name-two": [extension(SAN, dns("web01", "web02"))],
        "name-again": [extension(SAN, dns("web01", "web01"))], "name-none": [extension(SAN, seq())],
        "name-critical": [extension(SAN, dns("web01"), TRUE)], "name-twice": [extension(SAN, dns("web01"))] * 2,
        "name-address": [extension(SAN, dns("\x7f\0\0\1", tag=0x87))], "name-mail": [extension(SAN, dns("web01", tag=0x81))],
        "name-wild": [extension(SAN, dns("*"))], "name-case": [extension(SAN, dns("WEB01"))],
        "name-tail": [extension(SAN, dns("web01") + NULL)], "name-nul": [extension(SAN, dns("web01\0"))],
        "issuer-name": [extension("2.5.29.18", dns("web01"))],
    }.items():
        put(f"bad-extension-{case}", csr(asks(*extensions)))


os.makedirs(DIRECTORY)
for make in (good, bad_envelope, bad_subjects, bad_keys, bad_attributes, bad_extensions):
    make()
