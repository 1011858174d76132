"""What serving/ does after a commit: the sentiment of comments."""

from __future__ import annotations

from feedback import outbox
from feedback import services as feedback_services
from feedback.models import Event, OutboxEvent
from serving.served import served


@outbox.consumer("comment.received", name="serving.sentiment")
def score_comment(event: OutboxEvent) -> None:
    """A comment is stored without sentiment; this writes it back through feedback's service."""
    comment = Event.objects.filter(pk=event.payload["event"]).first()
    if comment is None:  # erased meanwhile
        return
    encoder, language = served.encoder_for(comment.text)
    score = served.sentiment(encoder, language, encoder.encode([comment.text]))[0]
    feedback_services.write_sentiment(event_id=comment.pk, sentiment=float(score))
