"""Joined scripts are answered one by one, as a guest that runs them would."""

from __future__ import annotations

from cloudpc.model.guests import Completed, Script
from cloudpc.model.joined_scripts import apart, joined
from tests.azure.back_ends import Command, Vm
from tests.azure.linux_answers import LinuxAnswers

VM = Vm("id", "cpc1", "Linux", "127.0.0.1", {}, 1, 1024)


def test_each_script_has_its_own_answer() -> None:
    answers = LinuxAnswers({"hello": 'it\'s "me"\n', "name": lambda vm, argv: vm.name}, {"false": 7})
    scripts = [
        Script("echo 'hello'\n(\none 9 1 1 x\n)\n", 30, secrets={"SECRET": "x"}, stdin=b"data"),
        Script("exit 7 # false", 30),
        Script("hostname # it's", 30, name="facts", arguments=("a b", "")),
    ]
    ended = answers(VM, Command(joined(scripts).text, {}, 30))
    assert apart(scripts, Completed(0, ended.output)) == [
        Completed(0, "it's \"me\"\n"), Completed(7, ""), Completed(0, "cpc1"),
    ]  # fmt: skip
    assert answers.ran[-1] == ("cpc1", "facts")
