"""The shell around the core: one asyncio loop that owns the engine."""
