"""Reveal over HTTP, for people alone."""

from __future__ import annotations

import uuid
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from feedback import privacy
from feedback.access import IsPerson
from feedback.models import Inquiry, Membership, User
from feedback.problems import not_found
from feedback.rest import StrictSerializer


class RevealIn(StrictSerializer):
    reason = serializers.CharField(max_length=privacy.MAX_REASON)


class RevealedPair(serializers.Serializer[Any]):
    placeholder = serializers.CharField()
    kind = serializers.CharField()
    original = serializers.CharField()


class RevealOut(serializers.Serializer[Any]):
    text = serializers.CharField()
    originals = RevealedPair(many=True)


class InquiryReveal(APIView):
    permission_classes = [IsPerson]

    @extend_schema(request=RevealIn, responses={200: RevealOut}, operation_id="inquiry_reveal")
    def post(self, request: Request, inquiry_id: uuid.UUID) -> Response:
        """An inquiry with its personal data, for a support agent, lead or admin; who, when and why is kept."""
        given = RevealIn(data=request.data)
        given.is_valid(raise_exception=True)
        assert isinstance(request.user, User)
        mine = Membership.objects.filter(user=request.user).values("project_id")
        project_id = (
            Inquiry.objects.filter(pk=inquiry_id, project_id__in=mine).values_list("project_id", flat=True).first()
        )
        if project_id is None:
            raise not_found("inquiry")
        shown = privacy.reveal(
            project_id=project_id, inquiry_id=inquiry_id, person=request.user, reason=given.validated_data["reason"]
        )
        originals = [{"placeholder": p.placeholder, "kind": p.kind, "original": p.original} for p in shown.pairs]
        return Response({"text": shown.text, "originals": originals}, headers={"Cache-Control": "no-store"})
