from __future__ import annotations

from uuid import UUID, uuid4

from hypothesis import given
from hypothesis import strategies as st

from tests.tenant.identifiers import guid, is_guid


@given(st.text(min_size=1), st.text(min_size=1))
def test_ids_are_stable_and_apart(one: str, other: str) -> None:
    assert is_guid(guid("user", one))
    assert guid("user", one) == guid("user", one) == guid("user", guid("user", one))
    assert (guid("user", one) == guid("user", other)) == (one == other)
    assert guid("user", one) != guid("group", one)


def test_a_guid_stays_in_lower_case() -> None:
    own = uuid4()
    assert guid("group", str(own).upper()) == str(own)
    # other spellings that UUID would take are ids like any other
    assert guid("group", own.hex) != str(own)
    assert not is_guid(f"{{{UUID(int=1)}}}")


def test_windows_365_has_its_own_ids() -> None:
    for name in ("CPC_E_2C_4GB_128GB", "CPC_1", "545e3611-3af8-49a5-9a0a-b7867968f4b0"):
        assert guid("servicePlan", name) == "545e3611-3af8-49a5-9a0a-b7867968f4b0"
    assert guid("sku", "CPC_E_2C_4GB_128GB") == "226ca751-f0a4-4232-9be5-73c02a92555e"
