"""What Go's standard library makes of text, since the tools we agree with are written in Go."""
