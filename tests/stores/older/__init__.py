"""Files of older formats, and what makes them."""
