"""The NoCloud seed as an ISO 9660 image, made in memory."""

from __future__ import annotations

import io

import pycdlib

from cloudpc.model.guests import Seed

VOLUME_LABEL = "cidata"
"""By this label cloud-init knows a NoCloud seed."""


def seed_iso(seed: Seed) -> bytes:
    """The image's bytes; the files are readable under their own names in Rock Ridge and in Joliet."""
    files = {"meta-data": seed.meta_data.encode(), "user-data": seed.user_data.encode()}
    image = pycdlib.PyCdlib()
    image.new(interchange_level=3, vol_ident=VOLUME_LABEL, joliet=3, rock_ridge="1.09")
    for name, content in files.items():
        plain = name.replace("-", "").upper()
        image.add_fp(io.BytesIO(content), len(content), f"/{plain}.;1", rr_name=name, joliet_path=f"/{name}")
    out = io.BytesIO()
    image.write_fp(out)
    image.close()
    return out.getvalue()
