"""The bot under test: its process, its handlers, and the evidence that they leave."""
