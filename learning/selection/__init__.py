"""Query strategies: which inquiries people should label next."""
