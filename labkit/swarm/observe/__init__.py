"""What services say and nodes carry: `log_entries`, `usage` and `numbers` are pure, `service_logs` asks the engine."""
