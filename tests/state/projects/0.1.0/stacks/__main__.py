"""What `pulumi up` runs for each stack; the program itself is in the package."""

from pathlib import Path

from cloudpc.iac import program

program.run(Path(__file__).resolve().parent)
