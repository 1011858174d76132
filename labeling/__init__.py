"""What people decide: the queue, annotations, agreement, adjudication and escalations."""
