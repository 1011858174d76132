"""Topics: what people are saying, found without labels, kept from day to day, and described in their own words."""
