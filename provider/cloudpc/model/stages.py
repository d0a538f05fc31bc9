"""The stages of provisioning, with the names users see."""

from __future__ import annotations

from enum import StrEnum


class Stage(StrEnum):
    """In order. Windows 365 has the same division: core stages are fatal, extras give provisionedWithWarnings."""

    PLACING = "placing"
    IMAGE = "image"
    DISK = "disk"
    STARTING = "starting"
    FIRST_BOOT = "first boot"
    DOMAIN_JOIN = "domain join"
    SET_UP = "set-up"
    REGISTRATION = "registration"
    CREDENTIALS = "credentials"
