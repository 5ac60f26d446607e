"""Text to trees that know where everything stands, and trees to typed values."""
