"""A boot client of our own: asks for what firmware and loaders ask for, packet by packet."""
