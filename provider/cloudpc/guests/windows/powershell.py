"""PowerShell scripts, and several of them as one, for hosts that count how often they are asked to run one.

What the joined one says has the lines of `model/joined_scripts.py`, whose `apart` reads it.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence

from cloudpc.model.guests import Script
from cloudpc.model.joined_scripts import ROOM, kept_of_each, secret_of

INTERPRETER = ("powershell.exe",)
"""Of scripts that `joined` takes: it starts them from a file, so that this is all there is to say of how."""
_BESIDES = 15.0
"""Seconds for each script that are not its own."""
_QUOTE = "['\u2018\u2019\u201a\u201b]"
"""What PowerShell takes for a single quote: typographic ones, too."""
_END_OF_TEXT = re.compile(rf"^{_QUOTE}@", re.MULTILINE)
# Only administrators can read the folder. Secrets are parameters of the joined script, as hosts give them, and
# variables of the environment of the one script that they are for. A script that takes too long ends with its children.
_ONE = """
$ErrorActionPreference = 'Stop'
$folder = Join-Path ([IO.Path]::GetTempPath()) ('cloudpc-' + [Guid]::NewGuid().ToString('N'))
New-Item -ItemType Directory -Path $folder | Out-Null
icacls.exe $folder /inheritance:r /grant '*S-1-5-18:(OI)(CI)F' '*S-1-5-32-544:(OI)(CI)F' | Out-Null
$begin = "`$ErrorActionPreference = 'Stop'; [Console]::OutputEncoding = New-Object Text.UTF8Encoding `$false`r`n"
function One([int] $Number, [double] $Seconds, [int] $Kept, [string] $Text, [string] $Data, [hashtable] $Secrets) {
    $file, $in, $out = 'ps1', 'in', 'out' | ForEach-Object { Join-Path $folder "$Number.$_" }
    [IO.File]::WriteAllText($file, $begin + $Text, (New-Object Text.UTF8Encoding $true))
    [IO.File]::WriteAllBytes($in, [Convert]::FromBase64String($Data))
    $start = New-Object Diagnostics.ProcessStartInfo
    $start.FileName = $env:ComSpec
    $run = "powershell.exe -NoProfile -NonInteractive -ExecutionPolicy Bypass -File `"$file`""
    $start.Arguments = "/d /s /c `"$run < `"$in`" > `"$out`" 2>&1`""
    $start.UseShellExecute = $false
    foreach ($name in $Secrets.Keys) { $start.EnvironmentVariables[$name] = $Secrets[$name] }
    $process = [Diagnostics.Process]::Start($start)
    if ($process.WaitForExit([int] ($Seconds * 1000))) {
        $code = $process.ExitCode
    } else {
        $code = 'late'
        taskkill.exe /T /F /PID $process.Id 2>&1 | Out-Null
    }
    $said = [byte[]] @()
    if (Test-Path $out) { $said = [IO.File]::ReadAllBytes($out) }
    if ($said.Length -gt $Kept) { $said = [byte[]] $said[($said.Length - $Kept)..($said.Length - 1)] }
    "cloudpc-script $Number $code $([Convert]::ToBase64String($said))"
}
try {
"""
_END = """
} finally {
    Remove-Item -Recurse -Force -Path $folder -ErrorAction SilentlyContinue
}
'cloudpc-done 0'
"""


def quoted(text: str) -> str:
    """As PowerShell has a text in a script."""
    return "'" + re.sub(_QUOTE, r"\g<0>\g<0>", text) + "'"


def joined(scripts: Sequence[Script], room: int = ROOM) -> Script:
    """One script that runs these in their order, whatever becomes of each.

    Args:
        scripts: some, of INTERPRETER and without arguments.
        room: characters of the output that the host keeps.
    """
    secrets = {secret_of(n, name): v for n, each in enumerate(scripts) for name, v in each.secrets.items()}
    parameters = f"param({', '.join(f'[string] ${name}' for name in secrets)})\n"
    parts = [_part(number, each, kept_of_each(scripts, room)) for number, each in enumerate(scripts)]
    return Script(
        text=parameters + _ONE + "".join(parts) + _END,
        timeout=sum(each.timeout + _BESIDES for each in scripts),
        title=", ".join(each.title for each in scripts if each.title),
        name=scripts[0].name,
        secrets=secrets,
        interpreter=INTERPRETER,
        repeatable=all(each.repeatable for each in scripts),
    )


def _part(number: int, script: Script, kept: int) -> str:
    if _END_OF_TEXT.search(script.text) or script.arguments:
        raise ValueError(f"{script.name} can't be joined: it has arguments, or a line that begins with '@")
    data = base64.b64encode(script.stdin).decode()
    secrets = _table({name: f"${secret_of(number, name)}" for name in script.secrets})
    return f"One {number} {script.timeout:.3f} {kept} @'\n{script.text}\n'@ '{data}' {secrets}\n"


def _table(values: Mapping[str, str]) -> str:
    return "@{" + "; ".join(f"{quoted(name)} = {value}" for name, value in values.items()) + "}"
