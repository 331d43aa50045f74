"""How jobs run: in threads, in processes, on an event loop, or in line."""
