import pytest
from ursa.proto.errors import InputError
from ursa.tools.addresses import Address, parse_partitions


@pytest.mark.parametrize(
    ("text", "expected"),
    [("127.0.0.1:7001", ("127.0.0.1", 7001)), ("localhost:0", ("localhost", 0)), ("[::1]:80", ("::1", 80))],
)
def test_an_address_survives_the_round_trip(text: str, expected: tuple[str, int]) -> None:
    assert Address.parse(text) == expected
    assert str(Address.parse(text)) == text


@pytest.mark.parametrize("text", ["", "7001", ":7001", "host:", "host:x", "host:70000", "host:-1"])
def test_what_is_no_address_is_refused_with_the_flag_named(text: str) -> None:
    with pytest.raises(InputError, match="--listen must look like"):
        Address.parse(text, "--listen")


def test_partitions_are_read_in_the_order_given() -> None:
    given = ["tp-2=127.0.0.1:2", "tp-1=127.0.0.1:1"]
    assert list(parse_partitions(given, "--tenant-partition")) == ["tp-2", "tp-1"]


@pytest.mark.parametrize(
    "texts",
    [["127.0.0.1:1"], ["Tp=127.0.0.1:1"], ["tp-1=127.0.0.1:0"], ["tp-1=127.0.0.1:1", "tp-1=127.0.0.1:2"], ["=a:1"]],
)
def test_malformed_partitions_are_refused_in_one_line(texts: list[str]) -> None:
    with pytest.raises(InputError) as refusal:
        parse_partitions(texts, "--tenant-partition")
    assert "--tenant-partition" in str(refusal.value)
    assert "\n" not in str(refusal.value)
