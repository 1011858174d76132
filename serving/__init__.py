"""What answers an inquiry: encoders, the model registry, the inference engine and the routing decision."""
