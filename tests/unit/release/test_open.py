"""What the machine does not give to open a release: a kubeconfig of another shape."""

from pathlib import Path

import pytest

from lightragctl.core.errors import LightragctlError
from lightragctl.release.open import RuntimeOptions, open_runtime
from lightragctl.release.profiles import load_profile


@pytest.mark.parametrize("content", [b"\xff\xfe", b"a: [", b"- 1\n", b"clusters: 3\n", b"", b"contexts: []\n", b"3"])
def test_a_kubeconfig_that_cannot_be_read_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "config").write_bytes(content)
    with pytest.raises(LightragctlError, match="kubeconfig") as caught:
        open_runtime("rel", load_profile("dev"), RuntimeOptions({}, tmp_path / "config", None))
    assert "--kubeconfig" in caught.value.hint
