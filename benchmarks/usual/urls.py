"""A DRF view for one event, one for many, and a plain Django view."""

from __future__ import annotations

import json
from typing import Any

from django.db import IntegrityError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path
from django.utils.dateparse import parse_datetime
from django.views.decorators.csrf import csrf_exempt
from rest_framework import generics, serializers
from rest_framework.authtoken.models import Token

from benchmarks.usual.models import UsualEvent


class One(serializers.ModelSerializer[UsualEvent]):
    class Meta:
        model = UsualEvent
        fields = ("event_id", "inquiry", "type", "value", "text", "customer", "occurred_at")


class AtOnce(serializers.ListSerializer[Any]):
    def create(self, validated_data: Any) -> Any:
        return UsualEvent._default_manager.bulk_create([UsualEvent(**v) for v in validated_data], ignore_conflicts=True)


class OneOfMany(One):
    """As ModelSerializer makes it: a look-up per event tells whether its event_id was used."""

    class Meta(One.Meta):
        list_serializer_class = AtOnce


class UncheckedOneOfMany(One):
    """With that look-up taken out by hand: a repeated event_id is dropped, and nobody is told."""

    class Meta(One.Meta):
        list_serializer_class = AtOnce
        extra_kwargs: dict[str, Any] = {"event_id": {"validators": []}}


class CreateOne(generics.CreateAPIView[UsualEvent]):
    queryset = UsualEvent._default_manager.all()
    serializer_class = One

    def perform_create(self, serializer: Any) -> None:
        serializer.save(owner=self.request.user)


class CreateMany(generics.CreateAPIView[UsualEvent]):
    queryset = UsualEvent._default_manager.all()
    serializer_class: type[One] = OneOfMany

    def get_serializer(self, *args: Any, **kwargs: Any) -> Any:
        return super().get_serializer(*args, many=True, **kwargs)

    def perform_create(self, serializer: Any) -> None:
        serializer.save(owner=self.request.user)


class CreateManyUnchecked(CreateMany):
    serializer_class = UncheckedOneOfMany


@csrf_exempt
def plain(request: HttpRequest) -> HttpResponse:
    token = request.headers.get("Authorization", "").removeprefix("Token ")
    owner = Token.objects.select_related("user").get(key=token).user
    event = json.loads(request.body)
    event["occurred_at"] = parse_datetime(event["occurred_at"])
    try:
        row = UsualEvent._default_manager.create(owner=owner, **event)
    except IntegrityError:
        return JsonResponse({"error": "this event_id was used"}, status=409)
    return JsonResponse({"id": row.pk}, status=201)


urlpatterns = [
    path("drf/one", CreateOne.as_view()),
    path("drf/many", CreateMany.as_view()),
    path("drf/many-unchecked", CreateManyUnchecked.as_view()),
    path("plain/one", plain),
]
