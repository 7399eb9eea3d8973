"""Certificates of a cluster, made with openssl for each start, and kubeconfigs that carry them inside."""

import base64
import json
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.commands import run
from tests.cluster.network import Plan

DAYS = "30"
CURVE = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
"""Elliptic keys: twenty of them take less time than one RSA key."""
CLIENTS = {
    "admin": "/O=system:masters/CN=admin",
    "controllers": "/CN=system:kube-controller-manager",
    "scheduler": "/CN=system:kube-scheduler",
    "proxy": "/CN=system:kube-proxy",
    "front": "/CN=front-proxy-client",
}


@dataclass(frozen=True)
class Keys:
    """The folder of keys, certificates and kubeconfigs, by name."""

    folder: Path

    def crt(self, name: str) -> str:
        """A certificate's path."""
        return str(self.folder / f"{name}.crt")

    def key(self, name: str) -> str:
        """A private key's path."""
        return str(self.folder / f"{name}.key")

    def config(self, name: str) -> str:
        """A kubeconfig's path."""
        return str(self.folder / f"{name}.conf")


def make(folder: Path, plan: Plan) -> Keys:
    """Makes all of them."""
    keys = Keys(folder)
    folder.mkdir(mode=0o700)
    authority = ("-keyout", keys.key("ca"), "-out", keys.crt("ca"), "-subj", "/CN=test-cluster", "-days", DAYS)
    run("openssl", "req", "-x509", *CURVE, *authority)
    run("openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", keys.key("sa"))
    (folder / "sa.pub").write_text(run("openssl", "pkey", "-in", keys.key("sa"), "-pubout"))
    names = "DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc"
    api = f"subjectAltName=IP:{plan.control_plane},IP:127.0.0.1,IP:{plan.first_service},{names}"
    wanted = {name: (subject, "extendedKeyUsage=clientAuth") for name, subject in CLIENTS.items()}
    wanted["apiserver"] = ("/CN=kube-apiserver", f"{api}\nextendedKeyUsage=serverAuth")
    for number in plan.numbers:
        name = f"node-{number}"
        extra = f"subjectAltName=IP:{plan.node(number)},DNS:{name}\nextendedKeyUsage=clientAuth,serverAuth"
        wanted[name] = (f"/O=system:nodes/CN=system:node:{name}", extra)
    for serial, (name, (subject, extensions)) in enumerate(wanted.items(), start=2):
        sign(keys, name, subject, (extensions, serial))
        write_kubeconfig(keys, name, f"https://{plan.control_plane}:6443", plan.cluster)
    return keys


def sign(keys: Keys, name: str, subject: str, details: tuple[str, int]) -> None:
    """A key and its certificate."""
    extensions, serial = details
    asked, extra = keys.folder / f"{name}.csr", keys.folder / f"{name}.ext"
    extra.write_text(extensions + "\n")
    run("openssl", "req", "-new", *CURVE, "-keyout", keys.key(name), "-out", asked, "-subj", subject)
    signer = ("-CA", keys.crt("ca"), "-CAkey", keys.key("ca"), "-set_serial", str(serial), "-days", DAYS)
    run("openssl", "x509", "-req", "-in", asked, *signer, "-extfile", extra, "-out", keys.crt(name))


def write_kubeconfig(keys: Keys, name: str, server: str, cluster: str) -> None:
    """JSON is YAML too."""

    def inside(path: str) -> str:
        return base64.b64encode(Path(path).read_bytes()).decode()

    known = f"lightragctl-test-{cluster}"
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": known, "cluster": {"server": server, "certificate-authority-data": inside(keys.crt("ca"))}}
        ],
        "users": [
            {
                "name": known,
                "user": {
                    "client-certificate-data": inside(keys.crt(name)),
                    "client-key-data": inside(keys.key(name)),
                },
            }
        ],
        "contexts": [{"name": known, "context": {"cluster": known, "user": known}}],
        "current-context": known,
    }
    path = Path(keys.config(name))
    path.touch(mode=0o600)
    path.write_text(json.dumps(config, indent=2))
