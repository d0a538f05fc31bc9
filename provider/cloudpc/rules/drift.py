"""How the policy's current settings differ from those that a Cloud PC was made with. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from cloudpc.model.cloud_pc import PolicySettings

_WORDS = {
    "networks": "networks",
    "locale": "locale",
    "time_zone": "time zone",
    "local_admin_enabled": "local admin",
    "packages": "packages",
    "script": "post-provisioning script",
}


def outdated(made_with: PolicySettings, today: PolicySettings, kernel_digest: str = "") -> list[str]:
    """In words, for example `image debian-12 -> debian-13`.

    Args:
        made_with: what it was made with.
        today: what the policy says.
        kernel_digest: the build whose kernel it was given since.
    """
    return [*_image(made_with, today, kernel_digest), *_others(made_with, today)]


def _image(made_with: PolicySettings, today: PolicySettings, kernel_digest: str) -> Iterator[str]:
    images = [(s.image_type, s.image_id) for s in (made_with, today)]
    if images[0] != images[1]:
        same_name = made_with.image_id == today.image_id
        before, after = (f"{kind} {name}" if same_name else name for kind, name in images)
        yield f"image {before} -> {after}"
        return
    # of the kind that its machine was made of; where no host takes that any more, there is nothing to compare it with
    newest = today.image_digests.get(made_with.image_kind, made_with.image_digest)
    if made_with.image_digest != newest:
        kernel = ", whose kernel it was given" if kernel_digest == newest else ""
        yield f"a newer build of image {today.image_id}{kernel}"


def _others(made_with: PolicySettings, today: PolicySettings) -> Iterator[str]:
    for name, word in _WORDS.items():
        before, after = getattr(made_with, name), getattr(today, name)
        if before != after:
            plain = isinstance(before, str) and isinstance(after, str)
            yield f"{word} {before} -> {after}" if plain else f"other {word}"
