"""Explains connection errors of an API server, with a hint. Pure."""

_UNTRUSTED = ("certificate verify failed", "CERTIFICATE_VERIFY_FAILED", "certificate has expired", "Hostname mismatch")


def explain(name: str, through: str, cause: str) -> tuple[str, str]:
    """Message and hint.

    Args:
        name: of the cluster.
        through: the proxy to the server, as text; empty if there is none.
        cause: the connection's error.
    """
    if any(words in cause for words in _UNTRUSTED):
        why = cause.split("verify failed: ", 1)[-1].split(" (_ssl", 1)[0]
        hint = (
            "set certificate-authority of the cluster in the kubeconfig: kubectl config view --minify; behind a proxy "
            "that intercepts TLS, use the proxy's CA"
        )
        return f"the certificate of the API server of {name}{through} is not trusted: {why}", hint
    message = f"no response from the API server of {name}{through}: {cause}"
    if through:
        return message, "fix the proxy, or exempt the server with no_proxy"
    return message, "check the cluster and the context: kubectl cluster-info"
