"""Where local releases are kept: an absolute path, or an error that names the variable."""

from pathlib import Path

import pytest

from lightragctl.core.errors import UsageError
from lightragctl.local.files import data_home


@pytest.mark.parametrize(
    ("environ", "folder"),
    [
        ({"HOME": "/h"}, "/h/.local/share/lightragctl"),
        ({"HOME": "/h", "XDG_DATA_HOME": "/x"}, "/x/lightragctl"),
        ({"HOME": "/h", "XDG_DATA_HOME": ""}, "/h/.local/share/lightragctl"),
        ({"XDG_DATA_HOME": "/x"}, "/x/lightragctl"),
    ],
)
def test_the_folder_follows_the_environment(environ: dict[str, str], folder: str) -> None:
    assert data_home(environ) == Path(folder)


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({"HOME": "/h", "XDG_DATA_HOME": "data"}, "XDG_DATA_HOME=data"),
        ({"HOME": "h"}, "HOME=h"),
        ({"HOME": "/h", "XDG_DATA_HOME": "/x\udcff"}, "not UTF-8"),
    ],
)
def test_a_path_that_cannot_be_used_is_refused(environ: dict[str, str], named: str) -> None:
    with pytest.raises(UsageError, match=named):
        data_home(environ)
