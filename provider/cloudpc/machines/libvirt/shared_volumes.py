"""Volumes that machines share and nobody's machine has: base images, and templates with what belongs to them."""

from __future__ import annotations

IMAGE_PREFIX = "cloudpc-image-"
TEMPLATE_PREFIX = "cloudpc-template-"


def is_base(volume: str) -> bool:
    """Whether a volume of this name belongs to a base image or a template."""
    return volume.startswith((IMAGE_PREFIX, TEMPLATE_PREFIX))
