"""Encodings: marks, declarations that lie, what is told for sure and what is not."""

import codecs

import pytest

from lightragctl.core.errors import UsageError
from lightragctl.ingest.encodings import EncodingError, decode, decode_page, named_encoding

CHINESE = "本手册说明如何在您的电脑上安装和使用这个系统，以及怎样从网络上获得帮助。"
MIXED = "pump 水泵 😀 end"
PROSE = {
    "gb18030": CHINESE,
    "big5": "水泵在四十二巴的壓力下運行。運行期間請勿打開冷卻閥門。",
    "cp932": "ポンプは四十二バールで運転します。運転中は冷却弁を開けないでください。",
    "euc_jp": "ポンプは四十二バールで運転します。運転中は冷却弁を開けないでください。",
    "iso2022_jp": "ポンプは四十二バールで運転します。",
    "cp949": "펌프는 작동합니다. 작동 중에는 냉각 밸브를 열지 마십시오.",
    "cp1251": "Справка по установке системы на ваш компьютер",
    "koi8_r": "Справка по установке системы на ваш компьютер",
    "cp1252": "Die Pumpe läuft mit 42 bar. Öffnen Sie das Ventil für die Kühlung nicht während des Betriebs. Prüfen "
    "Sie regelmäßig die Dichtungen und tauschen Sie beschädigte Teile aus. Größere Störungen müssen gemeldet werden.",
    "cp1250": "Pompa pracuje przy ciśnieniu 42 bar. Nie otwierać zaworu chłodzenia podczas pracy. Regularnie sprawdzać "
    "uszczelki i wymieniać uszkodzone części.",
}


@pytest.mark.parametrize(
    ("mark", "encoding"),
    [
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
        (codecs.BOM_UTF32_LE, "utf-32-le"),
        (codecs.BOM_UTF32_BE, "utf-32-be"),
        (b"\x84\x31\x95\x33", "gb18030"),
        (b"+/v8-", "utf-7"),
    ],
)
def test_a_byte_order_mark_is_obeyed_before_everything_else(mark: bytes, encoding: str) -> None:
    assert decode(mark + MIXED.encode(encoding), named="cp1252") == "\ufeff" + MIXED
    page = f'<meta charset="cp1252">{MIXED}'
    assert decode_page(mark + page.encode(encoding)) == "\ufeff" + page


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be", "utf-8"])
def test_unicode_without_a_mark_is_read(encoding: str) -> None:
    assert decode(MIXED.encode(encoding)) == MIXED


@pytest.mark.parametrize("encoding", PROSE)
def test_prose_in_an_older_encoding_is_read(encoding: str) -> None:
    assert decode(PROSE[encoding].encode(encoding)) == PROSE[encoding]


def test_what_tells_the_encoding_may_stand_far_behind() -> None:
    text = "plain ASCII line\n" * 20_000 + CHINESE
    assert decode(text.encode("gb18030")) == text


@pytest.mark.parametrize(
    "data",
    [
        "张伟 李娜 王芳 刘洋 陈静 赵敏 黄强 周涛".encode("gb18030"),
        "Käse, Müsli und Größe".encode("latin-1"),
        "20 °C".encode("cp1252"),
        bytes(range(1, 256)),
        b"\xed\xa0\x80",
        b"\xff\xfea",
        b"text\0\1\2",
    ],
    ids=["names", "few-words", "one-sign", "all-bytes", "surrogate", "half-utf-16", "binary"],
)
def test_what_is_not_sure_is_refused_with_the_way_out(data: bytes) -> None:
    with pytest.raises(EncodingError) as caught:
        decode(data)
    assert "--encoding" in caught.value.hint


def test_the_named_encoding_is_used_and_must_fit() -> None:
    assert decode("张伟".encode("gb18030"), named_encoding("GBK")) == "张伟"
    assert decode_page('<meta charset="utf-8">é'.encode("latin-1"), named_encoding("latin1")).endswith("é")
    with pytest.raises(EncodingError, match="is not valid utf-8"):
        decode(b"\xff", named_encoding("UTF8"))


@pytest.mark.parametrize("name", ["", "nope", "base64", "rot13", "idna", "unicode_escape", "undefined", "\0", "é"])
def test_a_name_of_no_encoding_is_a_usage_error(name: str) -> None:
    with pytest.raises(UsageError):
        named_encoding(name)


def test_a_page_says_its_encoding() -> None:
    meta = '<meta http-equiv="Content-Type" content="text/html; charset={}">'
    assert CHINESE in decode_page((meta.format("gb2312") + f"<p>{CHINESE}").encode("gb18030"))
    assert "漢字" in decode_page((meta.format("iso-2022-jp") + "<p>漢字").encode("iso-2022-jp"))
    assert "①漢字" in decode_page((meta.format("shift_jis") + "<p>①漢字").encode("cp932"))
    assert "“é”" in decode_page((meta.format("iso-8859-1") + "<p>“é”").encode("cp1252"))
    assert "äö" in decode_page('<?xml version="1.0" encoding="cp1252"?><html>äö'.encode("cp1252"))


@pytest.mark.parametrize("charset", ["utf-16", "iso-8859-1", "no-such-thing", "base64"])
def test_a_page_that_is_utf8_is_read_as_such_whatever_it_says(charset: str) -> None:
    page = f'<meta charset="{charset}"><p>{CHINESE} é'
    assert decode_page(page.encode()) == page
    assert "plain" in decode_page(f'<meta charset="{charset}"><p>plain'.encode())


@pytest.mark.parametrize("charset", ["utf-8", "iso-8859-1"])
@pytest.mark.parametrize("encoding", ["gb18030", "cp932", "cp1251"])
def test_a_page_that_lies_is_read_where_its_bytes_leave_no_doubt(charset: str, encoding: str) -> None:
    page = f'<meta charset="{charset}"><p>{PROSE[encoding]}'
    assert decode_page(page.encode(encoding)) == page


def test_a_page_that_lies_and_cannot_be_told_is_refused() -> None:
    with pytest.raises(EncodingError):
        decode_page('<meta charset="utf-8"><p>张伟 李娜'.encode("gb18030"))
