"""Places in a domain, as admins write them and as the domain is asked for them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudpc.model import distinguished_name


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("OU=Cloud PCs, DC=corp, DC=example", "OU=Cloud PCs,DC=corp,DC=example"),
        (" ou = Cloud PCs ,\n\tdc=corp , Dc = example ", "OU=Cloud PCs,DC=corp,DC=example"),
        ('OU="Cloud, PCs",DC=corp', r"OU=Cloud\, PCs,DC=corp"),
        (r'OU="say \"hi\" <b>; x",DC=corp', r"OU=say \"hi\" \<b\>\; x,DC=corp"),
        (r"OU=Cloud\2C PCs,DC=corp", r"OU=Cloud\, PCs,DC=corp"),
        (r"OU=B\C3\BCro,DC=corp", "OU=Büro,DC=corp"),
        (r"OU=Cloud\20PCs,DC=corp", "OU=Cloud PCs,DC=corp"),
        ("OU=ends in a blank\\ ,DC=corp", "OU=ends in a blank\\ ,DC=corp"),
        (r"OU=back\\ ,DC=corp", r"OU=back\\,DC=corp"),
        ("OU=#1,DC=corp", r"OU=\#1,DC=corp"),
        ("OU=C++ team,DC=corp", r"OU=C\+\+ team,DC=corp"),
        ("OU=a=b,DC=corp", r"OU=a\=b,DC=corp"),
        ("OU=x@y,DC=corp", "OU=x@y,DC=corp"),
        (r"OU=a\0Ab,DC=corp", r"OU=a\0Ab,DC=corp"),
    ],
)
def test_one_form_of_each_name(written: str, meant: str) -> None:
    assert distinguished_name.normal(written) == meant
    assert distinguished_name.normal(meant) == meant
    assert distinguished_name.same(written.swapcase().replace(r"\c3\bc", "ü"), meant)


@pytest.mark.parametrize(
    "wrong",
    [
        "", "Cloud PCs", "corp.example/Cloud PCs", "OU=,DC=corp", "=x,DC=corp", "OU=a+CN=b,DC=corp", 'OU="a,DC=corp',
        "OU=a,,DC=corp", "OU=a,DC=corp,", ",OU=a", "OU=a\nDC=corp", r"OU=CORP\zone,DC=corp", "OU=a,DC=corp\\",
        "OU=a;DC=corp", "<GUID=7b95f0d5-a3ed-486c-919c-077b8c9731f2>", r"OU=B\C3ro,DC=corp", r"OU=a\00b,DC=corp",
    ],
)  # fmt: skip
def test_what_is_no_name(wrong: str) -> None:
    with pytest.raises(ValueError, match="must be a distinguished name such as OU="):
        distinguished_name.normal(wrong)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1), min_size=1))
def test_whatever_a_part_is_called_it_can_be_written(values: list[str]) -> None:
    rdns = [("OU", value) for value in values]
    written = distinguished_name.written(rdns)
    assert distinguished_name.parts(written) == rdns
    assert distinguished_name.normal(written) == written


@given(st.text())
def test_any_text_is_a_name_or_a_value_error(text: str) -> None:
    try:
        normal = distinguished_name.normal(text)
    except ValueError:
        return
    assert distinguished_name.normal(normal) == normal


def test_the_domain_it_lies_in() -> None:
    assert distinguished_name.domain("OU=Cloud PCs, dc=Corp , DC=example") == "corp.example"
    assert distinguished_name.domain("OU=Cloud PCs") == ""
    assert distinguished_name.domain("OU=Cloud PCs,DC=corp,DC=example,OU=x") == "", "it lies in no domain then"
    assert distinguished_name.domain("OU=Cloud PCs,DC=corp.example") != "corp.example", "each label is a part"
