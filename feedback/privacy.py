"""Personal data at the door and behind it: masking what comes in, keeping the originals sealed, showing them to agents."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from django.db import transaction

from feedback import vault
from feedback.masking import CUT, MAX_TEMPLATES, Masked, mask, template_fault
from feedback.models import Inquiry, Membership, Original, Project, Reveal, Role, User
from feedback.problems import Problem, invalid, not_found

MAY_REVEAL = (Role.AGENT, Role.LEAD, Role.ADMIN)
MAX_REASON = 500


def masked(text: str, *, project_id: int) -> Masked:
    """`text` without personal data, by the project's own order numbers too."""
    templates = Project.objects.values_list("order_templates", flat=True).get(pk=project_id)
    return mask(text, tuple(templates))


def without_payment_numbers(text: str, *, project_id: int) -> str:
    """`text` with cards and IBANs cut and the rest as it was: what people write to a customer must arrive as they wrote it."""
    found = masked(text, project_id=project_id)
    kept = [vault.Pair(f.placeholder, f.kind, f.original) for f in found.found if f.kind not in CUT]
    return vault.restored(found.text, kept)


def mask_values(value: Any, templates: tuple[str, ...]) -> Any:
    """JSON with every string in it masked; the originals of metadata are not kept."""
    if isinstance(value, str):
        return mask(value, templates).text
    if isinstance(value, list):
        return [mask_values(v, templates) for v in value]
    if isinstance(value, dict):
        return {mask(k, templates).text: mask_values(v, templates) for k, v in value.items()}
    return value


def sealed_row(
    *, project_id: int, found: Masked, inquiry_id: uuid.UUID | None = None, event_id: uuid.UUID | None = None
) -> Original | None:
    """The row that keeps what was masked in a text (not saved, so that many can be written at once), or None."""
    if all(f.kind in CUT for f in found.found):
        return None
    return Original(project_id=project_id, inquiry_id=inquiry_id, event=event_id, sealed=vault.seal(found))


@dataclass(frozen=True)
class Revealed:
    """An inquiry as the customer wrote it, but for cards and IBANs."""

    text: str
    pairs: tuple[vault.Pair, ...]


def reveal(*, project_id: int, inquiry_id: uuid.UUID, person: User, reason: str) -> Revealed:
    """Show an agent what was masked. That it was shown is on record before it is; the reason is masked as well."""
    said = mask(reason.strip()[:MAX_REASON]).text[:MAX_REASON]
    if not said:
        raise invalid("reason", "Say why you need to see it: the reason is kept with your name.")
    if not Membership.objects.filter(user=person, project_id=project_id, role__in=MAY_REVEAL).exists():
        raise Problem(403, "missing-role", "Only support agents, leads and admins may see personal data.")
    with transaction.atomic():
        inquiry = Inquiry.objects.filter(pk=inquiry_id, project_id=project_id).first()
        if inquiry is None:
            raise not_found("inquiry")
        Reveal.objects.create(project_id=project_id, inquiry_ref=inquiry.pk, person=person, reason=said)
        kept = Original.objects.filter(inquiry=inquiry).first()
    try:
        pairs = vault.unseal(bytes(kept.sealed)) if kept else []
    except vault.Unreadable as error:
        raise Problem(409, "key-lost", "The key that this was encrypted with is no longer in the vault.") from error
    return Revealed(vault.restored(inquiry.text, pairs), tuple(pairs))


def set_order_templates(*, project_id: int, templates: list[str]) -> None:
    """How a project's own order numbers look (`masking.template_pattern`); applies to what comes in from now on."""
    if len(templates) > MAX_TEMPLATES:
        raise invalid("order_templates", f"Up to {MAX_TEMPLATES} patterns are allowed.")
    for i, template in enumerate(templates):
        if fault := template_fault(template):
            raise invalid(f"order_templates[{i}]", f"The pattern {fault}.")
    Project.objects.filter(pk=project_id).update(order_templates=templates)
