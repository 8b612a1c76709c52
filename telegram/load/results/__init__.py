"""What comes of a load test: both verdicts as a recording, shown in a terminal and in an HTML file."""
