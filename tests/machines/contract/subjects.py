"""All drivers that are under the contract: who adds one, adds it here."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "fakes"))

from .azure_subject import AzureSubject
from .cloudy_subject import CloudySubject
from .file_subject import FileSubject
from .libvirt_subject import LibvirtSubject
from .subject import Subject

SUBJECTS: dict[str, type[Subject]] = {
    "file": FileSubject,
    "cloudy": CloudySubject,
    "azure": AzureSubject,
    "libvirt": LibvirtSubject,
}
