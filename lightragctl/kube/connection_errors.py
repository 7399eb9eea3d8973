"""Why an API server gave no answer, in words with a next command. Pure."""

_UNTRUSTED = ("certificate verify failed", "CERTIFICATE_VERIFY_FAILED", "certificate has expired", "Hostname mismatch")


def explain(name: str, through: str, cause: str) -> tuple[str, str]:
    """Message and hint.

    Args:
        name: of the cluster.
        through: the proxy that leads to the server, in words; empty when there is none.
        cause: what the connection said.
    """
    if any(words in cause for words in _UNTRUSTED):
        why = cause.split("verify failed: ", 1)[-1].split(" (_ssl", 1)[0]
        hint = (
            "give the kubeconfig's cluster the certificate-authority of the API server: kubectl config view --minify; "
            "behind a proxy that puts in certificates of its own, that proxy's"
        )
        return f"the certificate of the API server of {name}{through} is not trusted: {why}", hint
    message = f"the API server of {name} does not answer{through}: {cause}"
    if through:
        return message, "correct the proxy, or exempt the server by no_proxy"
    return message, "is the cluster up, and the context right? kubectl cluster-info"
