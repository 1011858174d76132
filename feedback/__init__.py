"""What apps and customers send: projects, inquiries, replies, feedback, and the scores made from them."""
