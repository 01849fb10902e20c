"""Makes a corpus of odd CAs: a directory each with ca.pem (the bundle), crl.pem (the lists) and leaf.pem.

    corpus.py DIRECTORY KEYS

A name that begins with "refused-" is of what openssl accepts and espm refuses, one with "keyed-" of what openssl
decides by names alone and espm by keys. Keys are kept in KEYS for the next time.
"""

import datetime
import functools
import os
import subprocess
import sys

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.name import _ASN1Type as Type
from cryptography.x509.oid import NameOID

ROOT, KEYS = sys.argv[1:]
NOW = datetime.datetime.utcnow().replace(microsecond=0)
CURVES = {"p256": ec.SECP256R1, "p384": ec.SECP384R1, "p521": ec.SECP521R1, "p224": ec.SECP224R1}
UTF8, PRINTABLE, T61, BMP, UNIVERSAL, IA5 = (
    Type.UTF8String, Type.PrintableString, Type.T61String, Type.BMPString, Type.UniversalString, Type.IA5String
)


def day(number):
    return NOW + datetime.timedelta(days=number)


@functools.cache
def key(name):
    """Keys of one name differ by what follows a dash."""
    path = os.path.join(KEYS, name + ".pem")
    if os.path.exists(path):
        with open(path, "rb") as file:
            return serialization.load_pem_private_key(file.read(), None)
    kind = name.split("-")[0]
    if kind == "ed25519":
        made = ed25519.Ed25519PrivateKey.generate()
    elif kind in CURVES:
        made = ec.generate_private_key(CURVES[kind]())
    else:
        made = rsa.generate_private_key(65537, int(kind[3:]))
    pem = made.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with open(path + ".new", "wb") as file:
        file.write(pem)
    os.rename(path + ".new", path)
    return made


def name(text, kind=UTF8, organization=None):
    parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization, kind)] if organization else []
    return x509.Name(parts + [x509.NameAttribute(NameOID.COMMON_NAME, text, kind)])


def digest(signer, wanted):
    return None if isinstance(signer, ed25519.Ed25519PrivateKey) else wanted


def pem(made):
    return made.public_bytes(serialization.Encoding.PEM)


def ids(owner, authority):
    return [
        (x509.SubjectKeyIdentifier.from_public_key(owner.public_key()), False),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key()), False),
    ]


USAGE = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
NO_LISTS = x509.KeyUsage(False, False, False, False, False, True, False, False, False)


def cert(subject, issuer, own, signer, serial=3, days=(-1, 1825), ca=None, hash=hashes.SHA256(), extra=(), path=None):
    """A certificate; ca says whether it is one of a CA, where it says so at all."""
    made = (
        x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(own.public_key())
        .serial_number(serial).not_valid_before(day(days[0])).not_valid_after(day(days[1]))
    )
    if ca is not None:
        made = made.add_extension(x509.BasicConstraints(ca, path), True)
    for extension, critical in extra:
        made = made.add_extension(extension, critical)
    return pem(made.sign(signer, digest(signer, hash)))


def crl(issuer, signer, revoked=(), days=(-1, 1800), hash=hashes.SHA256(), extra=(), entry=()):
    made = x509.CertificateRevocationListBuilder().issuer_name(issuer).last_update(day(days[0])).next_update(day(days[1]))
    for serial in revoked:
        one = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(day(-1))
        for extension in [x509.ReasonFlags.key_compromise, *entry]:
            if isinstance(extension, x509.ReasonFlags):
                extension = x509.CRLReason(extension)
                one = one.add_extension(extension, False)
            else:
                one = one.add_extension(extension, True)
        made = made.add_revoked_certificate(one.build())
    made = made.add_extension(x509.CRLNumber(1), False)
    for extension, critical in extra:
        made = made.add_extension(extension, critical)
    return pem(made.sign(signer, digest(signer, hash)))


def put(case, ca, lists, leaf):
    directory = os.path.join(ROOT, case)
    os.makedirs(directory)
    for file, text in (("ca.pem", ca), ("crl.pem", lists), ("leaf.pem", leaf)):
        with open(os.path.join(directory, file), "wb") as out:
            out.write(text)


def plain(case, kind="p256", hash=hashes.SHA256(), text=lambda pem: pem, leaf_days=(-1, 1825), ca_days=(-9, 1825),
          list_days=(-1, 1800), revoked=(), names=("Puppet CA: x", ) * 3, kinds=(UTF8, ) * 3, serial=3,
          extra=(), leaf_extra=(), list_extra=(), entry=(), ca=True, organization=None):
    """One CA that has signed itself; names and kinds are those of subject, leaf's issuer and list's issuer."""
    own, node = key(kind), key("p256-leaf")
    subject, issuer, lists = (name(names[i], kinds[i], organization) for i in range(3))
    put(
        case,
        text(cert(subject, subject, own, own, 1, ca_days, ca, hash, extra)),
        text(crl(lists, own, revoked, list_days, hash, list_extra, entry)),
        text(cert(name("web01"), issuer, node, own, serial, leaf_days, False, hash, leaf_extra)),
    )


def names_and_strings():
    every = {"utf8": UTF8, "printable": PRINTABLE, "t61": T61, "bmp": BMP, "universal": UNIVERSAL, "ia5": IA5}
    for kind, value in every.items():
        plain(f"name-{kind}-utf8", kinds=(value, UTF8, UTF8))
        plain(f"name-{kind}-list", kinds=(value, UTF8, value), organization="Example  Corp")
    for case, names in {
        "case": ("Puppet CA", "puppet ca", "PUPPET CA"),
        "blanks": ("Puppet  CA", " Puppet CA ", "Puppet CA"),
        "other": ("Puppet CA", "Puppet CB", "Puppet CA"),
        "other-list": ("Puppet CA", "Puppet CA", "Puppet CB"),
        "umlaut-case": ("B\xfcro", "B\xdcRO", "B\xfcro"),
        "umlaut": ("B\xfcro", "b\xfcRO", "B\xfcro"),
        "joined": ("Puppet CA", "PuppetCA", "Puppet CA"),
    }.items():
        plain(f"name-{case}", names=names)
    plain("name-latin1", names=("B\xfcro", ) * 3, kinds=(T61, UTF8, BMP))


def keys_and_digests():
    digests = {"sha1": hashes.SHA1(), "sha256": hashes.SHA256(), "sha384": hashes.SHA384(), "sha512": hashes.SHA512()}
    for kind in ("rsa1024", "rsa2048", "rsa3072", "rsa4096", "rsa8192", "p256", "p384", "p521"):
        for word, hash in digests.items():
            # aws-lc has no algorithm for these.
            refused = (kind, word) in {("rsa1024", "sha384"), ("p384", "sha1")}
            plain(("refused-" if refused else "") + f"key-{kind}-{word}", kind, hash)
    plain("key-ed25519", "ed25519")
    plain("refused-key-p224", "p224")
    plain("refused-key-sha224", "rsa2048", hashes.SHA224())
    plain("refused-key-rsa1016", "rsa1016")
    plain("refused-key-md5", "rsa2048", hashes.MD5())


def dates():
    plain("date-ca-ended", ca_days=(-1830, -3))
    plain("date-ca-begins", ca_days=(1, 1825))
    plain("date-leaf-ended", leaf_days=(-30, -3))
    plain("date-leaf-begins", leaf_days=(2, 30))
    plain("date-list-ended", list_days=(-30, -3))
    plain("date-list-begins", list_days=(2, 30))
    plain("date-list-ended-revoked", list_days=(-30, -3), revoked=[3])
    last = (datetime.datetime(9999, 12, 31, 23, 59, 59) - NOW).days
    plain("date-last", leaf_days=(-1, last), ca_days=(-1, last), list_days=(-1, last))
    plain("date-old", leaf_days=(-12000, 30), ca_days=(-20000, 30))


def extensions():
    own = key("p256")
    plain("ext-ids", extra=ids(own, own), leaf_extra=ids(key("p256-leaf"), own), list_extra=ids(own, own)[1:])
    other = x509.AuthorityKeyIdentifier(b"another", None, None)
    skid = ids(own, own)[:1]
    plain("ext-other-key-of-leaf", extra=skid, leaf_extra=[(other, False)])
    plain("ext-other-key-of-list", extra=skid, list_extra=[(other, False)])
    serial = lambda text, number: [(x509.AuthorityKeyIdentifier(None, [x509.DirectoryName(name(text))], number), False)]
    plain("ext-serial", leaf_extra=serial("Puppet CA: x", 1), list_extra=serial("puppet ca:  x", 1))
    plain("ext-other-serial", leaf_extra=serial("Puppet CA: x", 2))
    plain("ext-other-directory", leaf_extra=serial("Puppet CA: y", 1))
    plain("ext-usage", extra=[(USAGE, True)])
    plain("ext-usage-no-lists", extra=[(NO_LISTS, True)])
    plain("ext-usage-no-sign", extra=[(x509.KeyUsage(True, *[False] * 8), True)])
    plain("ext-no-ca", ca=False)
    plain("ext-no-constraints", ca=None)
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.34380.1.9"), b"\x0c\x01x")
    for critical, word in ((True, "critical"), (False, "plain")):
        plain(f"ext-{word}-ca", extra=[(unknown, critical)])
        plain(f"ext-{word}-leaf", leaf_extra=[(unknown, critical)])
        plain(f"ext-{word}-list", list_extra=[(unknown, critical)])
    plain("ext-critical-entry", revoked=[9], entry=[unknown])
    constraint = x509.NameConstraints([x509.DNSName("web01")], None)
    plain("refused-ext-constraints", extra=[(constraint, True)])
    plain("ext-usual", leaf_extra=[
        (x509.ExtendedKeyUsage([x509.ObjectIdentifier("1.3.6.1.5.5.7.3.1")]), True),
        (x509.SubjectAlternativeName([x509.DNSName("web01")]), True),
    ])


def lists():
    own, another, node = key("p256"), key("p256-b"), key("p256-leaf")
    subject, leaf = name("Puppet CA"), cert(name("web01"), name("Puppet CA"), node, own, ca=False)
    ca = cert(subject, subject, own, own, 1, ca=True)
    twin = cert(subject, subject, another, another, 1, ca=True)
    stranger_name = name("Other CA")
    stranger = cert(stranger_name, stranger_name, another, another, 1, ca=True)
    mine, full = crl(subject, own), crl(subject, own, [3, 4])
    theirs, full_theirs = crl(stranger_name, another), crl(stranger_name, another, [3])
    for case, bundle, found in (
        ("none", ca, b""),
        ("revoked", ca, full),
        ("others-alone", ca + stranger, theirs),
        ("others-first", ca + stranger, full_theirs + mine),
        ("others-last", stranger + ca, full + theirs),
        ("forged", ca, crl(subject, another)),
        ("forged-first", ca, crl(subject, another, [3]) + mine),
        ("keyed-twins", twin + ca, crl(subject, another, [3]) + mine),
        ("twins-revoked", ca + twin, crl(subject, another) + full),
        ("twin-alone", ca + twin, crl(subject, another)),
        ("newer-last", ca, crl(subject, own, [3], (-9, 99)) + mine),
        ("newer-first", ca, full + crl(subject, own, (), (-9, 99))),
        ("empty-and-long", ca, crl(subject, own, range(100, 3000))),
        ("renewed", cert(subject, subject, own, own, 1, (-99, -9), True) + ca, mine),
    ):
        put("keyed-list-twins" if case == "keyed-twins" else "list-" + case, bundle, found, leaf)
    delta = [(x509.DeltaCRLIndicator(1), True)]
    put("refused-list-delta", ca, crl(subject, own, extra=delta), leaf)
    put("list-delta-and-full", ca, crl(subject, own, [7], extra=delta) + mine, leaf)
    point = lambda **flags: [(x509.IssuingDistributionPoint(None, None, *(
        flags.get(flag, False) for flag in ("user", "ca")), None, flags.get("indirect", False), flags.get("attributes", False)), True)]
    put("refused-list-user", ca, crl(subject, own, extra=point(user=True)), leaf)
    put("list-cas", ca, crl(subject, own, extra=point(ca=True)), leaf)
    put("list-indirect", ca, crl(subject, own, extra=point(indirect=True)), leaf)
    put("list-attributes", ca, crl(subject, own, extra=point(attributes=True)), leaf)


def chains():
    keys = [key("p256"), key("rsa2048"), key("p384")]
    texts = [name("Root", PRINTABLE), name("Middle"), name("Puppet CA", PRINTABLE)]

    def chain(case, path=(None, ) * 3, days=((-9, 999), ) * 3, ca=(True, ) * 3, order=(2, 1, 0), forged=None, more=b""):
        made = []
        for i in range(3):
            above = max(i - 1, 0)
            signer = key("rsa2048-b") if forged == i else keys[above]
            made.append(cert(texts[i], texts[above], keys[i], signer, i + 1, days[i], ca[i], path=path[i]))
        leaf = cert(name("web01"), name("Puppet CA"), key("p256-leaf"), keys[2], 77, ca=False)
        found = b"".join(crl(texts[i], keys[i], [77] if i < 2 else []) for i in range(3))
        put("chain-" + case, b"".join(made[i] for i in order) + more, found, leaf)

    ended = (-99, -9)
    chain("three")
    chain("three-root-first", order=(0, 1, 2))
    chain("no-root", order=(2, 1))
    chain("no-middle", order=(2, 0))
    chain("no-ca", order=(1, 0))
    chain("middle-is-no-ca", ca=(True, False, True))
    chain("middle-ended", days=((-9, 999), ended, (-9, 999)))
    chain("root-ended", days=(ended, (-9, 999), (-9, 999)))
    chain("path-fits", path=(2, 1, 0))
    chain("path-of-root", path=(1, None, None))
    chain("path-of-middle", path=(None, 0, None))
    chain("forged-middle", forged=1)
    chain("forged-ca", forged=2)
    crossed = cert(texts[1], texts[1], keys[1], keys[1], 9, (-9, 999), True)
    chain("crossed", order=(2, 1), more=crossed)
    chain("crossed-first", order=(2, ), more=crossed + cert(texts[1], texts[0], keys[1], keys[0], 2, (-9, 999), True))
    chain("renewed-middle", days=((-9, 999), ended, (-9, 999)), more=cert(texts[1], texts[0], keys[1], keys[0], 8, (-9, 999), True))


def texts():
    crlf = lambda pem: pem.replace(b"\n", b"\r\n")
    for case, text in {
        "crlf": crlf,
        "comment": lambda pem: b"subject=CN = x\nissuer=/CN=x\n\n" + pem + b"\nwritten by hand\n",
        "latin1": lambda pem: b"# f\xfcr das B\xfcro\n" + pem + b"\n\xff\xfe\x00\x01\n",
        "crlf-latin1": lambda pem: crlf(b"f\xfcr\n" + pem),
        "no-last-newline": lambda pem: pem.rstrip(),
        "blanks-behind": lambda pem: pem.replace(b"\n", b"  \n"),
        "blanks-before": lambda pem: b"  " + pem,
        "mark": lambda pem: b"\xef\xbb\xbf" + pem,
        "mark-in-comment": lambda pem: b"\xef\xbb\xbf# written by an editor\n" + pem,
        "cut": lambda pem: pem[:-30],
        "cut-inside": lambda pem: pem[:len(pem) // 2],
        "wrong-end": lambda pem: pem.replace(b"-----END ", b"-----END A "),
        "bad-letter": lambda pem: pem[:90] + b"!" + pem[91:],
        "empty": lambda _: b"",
    }.items():
        plain("pem-" + case, text=text)
    plain("refused-pem-old-label", text=lambda pem: pem.replace(b"N CERT", b"N X509 CERT").replace(b"D CERT", b"D X509 CERT"))
    lines = lambda width: lambda pem: b"\n".join(
        [pem.splitlines()[0]] + [(body := b"".join(pem.splitlines()[1:-1]))[i:i + width] for i in range(0, len(body), width)]
        + [pem.splitlines()[-1], b""]) if (body := b"".join(pem.splitlines()[1:-1])) else pem
    for width in (1, 61, 76):
        plain(f"pem-width-{width}", text=lines(width))


def openssl(*arguments):
    subprocess.run(["openssl", *arguments], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def by_openssl(case, serial="3", kind="rsa2048", salt=None, hash="sha256", revoke=False):
    """What python3-cryptography cannot make: PSS, and serial numbers that no CA should give."""
    directory = os.path.join(ROOT, case)
    os.makedirs(directory)
    at = lambda file: os.path.join(directory, file)
    key(kind), key("p256-leaf")
    own, node = (os.path.join(KEYS, file + ".pem") for file in (kind, "p256-leaf"))
    pss = ["-sigopt", "rsa_padding_mode:pss", "-sigopt", f"rsa_pss_saltlen:{salt}"] if salt is not None else []
    openssl("req", "-x509", "-new", "-key", own, "-subj", "/CN=Puppet CA", "-days", "99", f"-{hash}", *pss, "-out", at("ca.pem"))
    openssl("req", "-new", "-key", node, "-subj", "/CN=web01", "-out", at("csr"))
    openssl("x509", "-req", "-in", at("csr"), "-CA", at("ca.pem"), "-CAkey", own, "-set_serial", serial,
            "-days", "9", f"-{hash}", *pss, "-out", at("leaf.pem"))
    for file, text in (("index", ""), ("conf", f"[ca]\ndefault_ca=c\n[c]\ndatabase={at('index')}\ndefault_md={hash}\ndefault_crl_days=9\n")):
        with open(at(file), "w", encoding="utf-8") as out:
            out.write(text)
    ca = ["ca", "-config", at("conf"), "-cert", at("ca.pem"), "-keyfile", own]
    if revoke:
        openssl(*ca, "-revoke", at("leaf.pem"))
    openssl(*ca, "-gencrl", *pss, "-out", at("crl.pem"))


def odd():
    for salt in ("0", "20", "digest", "max"):
        for hash in ("sha256", "sha384", "sha512"):
            by_openssl(f"pss-{salt}-{hash}", salt=salt, hash=hash)
    by_openssl("refused-pss-sha1", salt="20", hash="sha1")
    by_openssl("refused-pss-1024", kind="rsa1024", salt="32")
    by_openssl("pss-8192", kind="rsa8192", salt="max")
    for word, serial in {"zero": "0", "negative": "-5", "minus-128": "-128", "128": "128", "255": "255",
                         "long": "0x" + "f7" * 20, "longer": "0x" + "7f" * 25, "256": "0x0100"}.items():
        by_openssl("serial-" + word, serial)
        by_openssl(f"serial-{word}-revoked", serial, revoke=True)


os.makedirs(KEYS, exist_ok=True)
for part in (names_and_strings, keys_and_digests, dates, extensions, lists, chains, texts, odd):
    part()
