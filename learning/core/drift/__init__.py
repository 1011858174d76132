"""Drift: has what customers write, what the model answers, or what is right changed beyond chance?"""
