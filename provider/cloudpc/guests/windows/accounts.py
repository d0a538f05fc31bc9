"""The account of a Windows guest's user: its name, what its first boot gets, and its password."""

from __future__ import annotations

import json
import re

from cloudpc.guests.windows.powershell import INTERPRETER
from cloudpc.model.cloud_pc import Account
from cloudpc.model.guests import Script, Seed

_SECONDS = 120.0
_LONGEST = 20
_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f\"/\\\[\]:;|=,+*?<>@%\s]")
"""Windows refuses most of them in names of accounts, and `%` is a variable to its shell."""
_TAKEN = frozenset(
    "administrator guest defaultaccount wdagutilityaccount system none user nobody cloudpc network service "
    "everyone administrators users guests".split()
)
# The seed says who may administer; Azure's agent leaves it in this file. Groups go by their SIDs: their names are
# translated.
_SET = r"""
$name = $env:CLOUDPC_USER
$password = ConvertTo-SecureString $env:CLOUDPC_PASSWORD -AsPlainText -Force
if (Get-LocalUser -Name $name -ErrorAction SilentlyContinue) {
    Set-LocalUser -Name $name -Password $password
} else {
    New-LocalUser -Name $name -Password $password | Out-Null
}
$groups = @('S-1-5-32-555')
$seed = 'C:\AzureData\CustomData.bin'
if (Test-Path $seed) {
    $said = (Get-Content $seed | Where-Object { $_ -notlike '#*' }) -join "`n" | ConvertFrom-Json
    if ($said.account -eq $name -and $said.localAdmin) { $groups += 'S-1-5-32-544' }
}
foreach ($group in $groups) {
    $member = Get-LocalGroupMember -SID $group -Member $name -ErrorAction SilentlyContinue
    if (-not $member) { Add-LocalGroupMember -SID $group -Member $name }
}
"""


def account_name(username: str) -> str:
    """The local part of the userPrincipalName in what Windows allows: 20 characters, and not a name of its own."""
    name = _FORBIDDEN.sub("-", username)[:_LONGEST].strip(".- ") or "user-1"
    return f"u-{name}"[:_LONGEST] if name.lower() in _TAKEN else name


def seed(*, account: Account, local_admin: bool) -> Seed:
    """What there is to be known before anything runs in the guest."""
    said = {"account": account.name, "localAdmin": local_admin}
    return Seed(meta_data="", user_data=f"# cloudpc\n{json.dumps(said)}\n")


def password(user: str, password: str) -> Script:
    """Makes the account if there is none, and sets its password; twice does no harm."""
    secrets = {"CLOUDPC_USER": user, "CLOUDPC_PASSWORD": password}
    return Script(
        text=_SET,
        name="set-password",
        secrets=secrets,
        timeout=_SECONDS,
        interpreter=INTERPRETER,
        repeatable=True,
    )
